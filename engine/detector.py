"""The Python API for scoring: `Detector.load(path).score(clip)`. The commands also use it to score unlabelled clips."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset.config import ExtractionConfig
from dataset.extraction_worker import ScoringTask, extract_in_memory
from dataset.samples import InputLayout, Sample, grouped, make_samples
from dataset.workers import LOCAL, Engine, results_of
from engine.interruption import Interruption
from engine.load import default_checkpoint, load_saved
from engine.saved_detector import SavedDetector
from engine.score import Score
from engine.scoring import check_views, scored_rows
from engine.scoring_progress import Report, ScoringProgress
from engine.waiting_clip import WaitingClip
from utils.errors import UsageError
from utils.features.clip import ClipFacts, ClipFeatures, failed
from utils.features.extract import require_parts
from utils.media.arrays import ClipArrays

if TYPE_CHECKING:
    from engine.evidence.types import Evidence
    from models.base import DetectorModel

Clip = str | os.PathLike | ClipArrays


class Detector:
    """A trained detector that scores clips.

    A clip is a path, or a `ClipArrays`. A clip that cannot be read or scored gives a `Score` with the verdict `unscored` and a
    reason; it does not raise.

    Attributes:
        checkpoint: weights, feature settings, calibration and provenance.
        path: the checkpoint's file; `None` for one that was not loaded from a file.
        terms: names of the experts in `Score.evidence`.
        tta: number of views averaged per clip.
        limits: limits on decoding a clip.
        layout: inputs of the network.
    """

    def __init__(
        self, checkpoint: SavedDetector, *, device: str = "auto", tta: int = 1, path: str | Path | None = None
    ) -> None:
        """Load the network of a checkpoint. Use `load` for a checkpoint file.

        Raises:
            UsageError: see `load`.
        """
        check_views(tta)
        self.checkpoint = checkpoint
        self.path = None if path is None else Path(path)
        self.tta = tta
        self._scorer = checkpoint.scorer(device, tta)
        self.terms = self._scorer.terms
        self.limits = ExtractionConfig.model_validate(checkpoint.run_config.get("extraction", {}))
        self.layout = InputLayout(checkpoint.features, self._scorer.inputs)
        require_parts(checkpoint.features, self.layout.features)

    @classmethod
    def load(cls, path: str | Path | None = None, device: str = "auto", *, tta: int = 1) -> Detector:
        """Load a detector.

        Args:
            path: a checkpoint or an exported `.onnx` file; `None` for the shipped one, else the newest trained run.
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
            tta: number of views averaged per clip: 1, 2 or 4; see `EvalConfig.tta`.

        Raises:
            UsageError: the checkpoint is missing or not a multi-ffdv checkpoint, the device is unavailable, or weights
                required by its features are not installed.
        """
        path = default_checkpoint() if path is None else Path(path)
        return cls(load_saved(path), device=device, tta=tta, path=path)

    def score(
        self,
        clip: Clip | np.ndarray | None = None,
        *,
        fps: float | None = None,
        samples: np.ndarray | None = None,
        rate_hz: int | None = None,
        timeline: bool = False,
    ) -> Score:
        """Score one clip in this process.

        Args:
            clip: a path, a `ClipArrays`, or frames as in `ClipArrays.frames`, to be described by the other arguments.
            fps: see `ClipArrays`.
            samples: see `ClipArrays`.
            rate_hz: see `ClipArrays`.
            timeline: whether to fill `Score.timeline`, `spans`, `findings` and `faces`, which takes several times as long.

        Raises:
            UsageError: the clip is none of these, its path is a folder, its arrays are invalid (see `ClipArrays`), or the
                detector has no time line because it scores features of whole clips.
        """
        if clip is None or isinstance(clip, np.ndarray):
            clip = ClipArrays(clip, fps, samples, rate_hz)
        elif (fps, samples, rate_hz) != (None, None, None):
            raise UsageError("fps, samples and rate_hz belong to frames; a path or ClipArrays has its own")
        refuse_folder(clip)
        return next(self.score_many([clip], timeline=timeline))

    def explain(
        self, clip: Clip, score: Score | None = None, *, workers: int | None = None, report: Report | None = None
    ) -> Evidence:
        """Collect the evidence about one clip: the observations behind its score, for a person to check.

        `engine.report.clip_page` shows it as an HTML page.

        Args:
            clip: a path or a `ClipArrays`.
            score: its score; `None` to score it first.
            workers: 1 to decode in a separate process, which protects against decoders that crash or hang; see `score_many`.
            report: receives the progress of decoding the clip, from another thread.

        Raises:
            UsageError: see `score_many`.
        """
        from engine.evidence.explain import explain_many

        refuse_folder(clip)
        if score is None:
            (score,) = self.score_many([clip], workers=workers)
        return next(explain_many(self, [(clip, score)], workers=workers, report=report))

    @property
    def network(self) -> DetectorModel | None:
        """The network in its torch form; `None` if it runs elsewhere."""
        return getattr(self._scorer, "model", None)

    def score_many(
        self,
        clips: Iterable[Clip],
        *,
        workers: int | None = None,
        batch_size: int = 8,
        progress: bool | Report = False,
        timeline: bool = False,
        engine: Engine = LOCAL,
    ) -> Iterator[Score]:
        """Score clips lazily, in input order.

        Args:
            clips: any iterable, read a few batches ahead.
            workers: number of decoding processes; 0 for one per core; `None` decodes in this process. Separate processes
                protect against decoders that crash or hang, but scripts then need `if __name__ == "__main__":`.
            batch_size: clips per forward pass.
            progress: whether to show a progress bar on standard error, on a terminal also within long clips; or a function
                that receives the progress within clips, also from another thread.
            timeline: see `score`.
            engine: where the decoding processes run.

        Returns:
            An iterator over one `Score` per clip. After Ctrl-C it yields the scores of the clips that are already decoded, then
            raises KeyboardInterrupt. It does the same if a KeyboardInterrupt is thrown into it.

        Raises:
            UsageError: an argument is out of range, or (while iterating) an item is not a clip.
            WorkError: the decoding processes cannot start.
        """
        refuse_folder(clips)
        if isinstance(clips, str | os.PathLike | ClipArrays | np.ndarray):
            raise UsageError("score_many expects several clips, for example a list; use score for one")
        if workers is not None and workers < 0 or batch_size < 1:
            raise UsageError(f"workers={workers} must be 0 or more, batch_size={batch_size} 1 or more")
        if timeline and not self.layout.windowed:
            raise UsageError(f"{self.checkpoint.model['name']} scores features of whole clips and has no time line")
        total = length_hint(clips, -1)
        waiting: dict[int, WaitingClip] = {}
        shown = ScoringProgress(progress, total if total >= 0 else None)
        tasks = self._tasks(clips, waiting, timeline, shown)
        features = self._features(tasks, shown.total, workers, engine)
        return self._scores(features, waiting, batch_size, shown)

    def _scores(
        self,
        features: Generator[ClipFeatures, None, None],
        waiting: dict[int, WaitingClip],
        batch_size: int,
        shown: ScoringProgress,
    ) -> Iterator[Score]:
        interruption = Interruption()
        with shown:
            samples = interruption.samples(self._samples(interruption.clips(features), waiting, shown))
            for group in grouped(samples, batch_size):
                for row in interruption.finish(partial(self._rows, group)):
                    if waiting[row["index"]].add(row, shown.report):
                        clip = waiting.pop(row["index"])
                        calibration = self.checkpoint.calibration
                        score = partial(clip.score, self.layout, self._scorer, calibration, shown.report)
                        try:
                            found = interruption.finish(score)
                            shown.scored()
                            yield found
                        except KeyboardInterrupt as error:  # thrown in by the caller, who was interrupted
                            interruption.caught = error
        if interruption.caught is not None:
            raise interruption.caught

    def _rows(self, group: list[tuple[Sample, ClipFacts]]) -> list[dict[str, Any]]:
        calibration = self.checkpoint.calibration
        return list(scored_rows(self._scorer, group, batch_size=len(group), calibration=calibration))

    def _tasks(
        self, clips: Iterable[Clip], waiting: dict[int, WaitingClip], timeline: bool, shown: ScoringProgress
    ) -> Iterator[ScoringTask]:
        """Yield the tasks of extracting clips; `waiting` receives each clip by its index."""
        features, names, max_frames = self.checkpoint.features, self.layout.features, self.limits.max_frames
        for index, clip in enumerate(clips):
            source = checked(clip)
            waiting[index] = WaitingClip(source.name if isinstance(source, ClipArrays) else str(clip))
            progress_path = shown.watch.path(index)
            yield ScoringTask(source, features, names, max_frames, True, timeline, progress_path)

    def _samples(
        self, features: Iterator[ClipFeatures], waiting: dict[int, WaitingClip], shown: ScoringProgress
    ) -> Iterator[tuple[Sample, ClipFacts]]:
        """Yield the samples of the clips in `waiting`."""
        for index, clip in enumerate(features):
            shown.watch.finished(index)
            samples = make_samples(index, float("nan"), clip, self.layout)
            waiting[index].expect(len(samples), clip, shown.report)
            yield from samples

    def _features(
        self, tasks: Iterator[ScoringTask], total: int | None, workers: int | None, engine: Engine
    ) -> Generator[ClipFeatures, None, None]:
        limits = self.limits
        for clip, reason in results_of(
            extract_in_memory,
            tasks,
            total=total,
            workers=workers,
            timeout_s=limits.timeout_s,
            memory_gb=limits.memory_gb,
            engine=engine,
        ):
            yield clip or failed(reason)


def refuse_folder(clip: Any) -> None:
    """Raise a `UsageError` if `clip` is the path of a folder."""
    if isinstance(clip, str | os.PathLike) and os.path.isdir(clip):
        raise UsageError(
            f"{os.fsdecode(clip)} is a folder: score its clips with score_many(engine.clip_search.find_videos(folder))"
        )


def checked(clip: Any) -> Path | ClipArrays:
    """Return a clip as a path or as arrays.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(clip, ClipArrays):
        return clip
    if isinstance(clip, str | os.PathLike):
        return Path(os.fsdecode(clip))
    raise UsageError(f"a clip is a path or ClipArrays, not {type(clip).__name__}")
