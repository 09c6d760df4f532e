"""Scores for clips that nobody labelled: single files and folders, on the fly."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from dataset.batch import InputLayout, Sample, make_sample
from dataset.clips import batches_of
from dataset.config import ExtractionConfig
from dataset.extraction_worker import ScoringTask, extract_in_memory
from dataset.workers import run_in_workers, worker_count
from engine.checkpoint import Checkpoint
from engine.config import EMPTY_DATA_HINT
from engine.device import pick_device
from engine.provenance import git_state, package_versions
from engine.report import ScreeningInputs, write_screening_report
from engine.run_folder import write_csv
from engine.scoring import EVIDENCE_PREFIX, scored_parts
from utils.errors import UsageError
from utils.features.clip import ClipFacts, failed
from utils.features.config import FeatureConfig
from utils.features.extract import require_parts
from utils.files import write_text_atomic
from utils.metrics import Calibration

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    """
    .mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .mpe .m2v .ts .mts .m2ts .vob .wmv .asf .flv .f4v .ogv .ogg .3gp .3g2
    .mxf .qt .rm .rmvb .divx .dv .gif
    """.split()  # noqa: SIM905  (a quoted list of words reads worse)
)
"""What counts as a clip inside a folder; a file that is named on the command line is always taken."""

CHECKPOINTS = Path(__file__).resolve().parents[1] / "checkpoint"


@dataclass(frozen=True)
class PredictOptions:
    """How clips are scored.

    Attributes:
        workers: decoding processes; 0 means one per core.
        batch_size: clips per forward pass.
        tta: see `EvalConfig.tta`.
        device: see `RunConfig.device`.
        quiet: no progress bar.
    """

    workers: int = 0
    batch_size: int = 8
    tta: int = 1
    device: str = "auto"
    quiet: bool = False


def chosen_videos(video_path: str | None, video_dir: str | None) -> list[Path]:
    """The one clip that the user named, whatever its suffix, or all clips of the named folder.

    Raises:
        UsageError: the path does not exist, or is of the other kind; no clip in the folder.
    """
    if video_path is None:
        return find_videos(Path(video_dir or "."))
    if not Path(video_path).is_file():
        problem = "is not a file" if Path(video_path).exists() else "does not exist"
        raise UsageError(f"--video_path {problem}: {video_path}")
    return [Path(video_path)]


def find_videos(folder: Path) -> list[Path]:
    """All clips below a folder, by suffix, in path order; hidden files and folders are left out.

    Raises:
        UsageError: not a folder, or no clip in it.
    """
    if not folder.is_dir():
        raise UsageError(f"--video_dir {'is a file, not a folder' if folder.exists() else 'does not exist'}: {folder}")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES
        and (path.is_file() or (path.is_symlink() and not path.exists()))
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        suffixes = ", ".join(sorted(VIDEO_SUFFIXES))
        raise UsageError(f"--video_dir {folder}: no clip in it ({suffixes}); {EMPTY_DATA_HINT}")
    return found


def default_checkpoint() -> Path:
    """The shipped `checkpoint/default.pth`, else the newest `checkpoint/*/best.pth`.

    Raises:
        UsageError: neither is there.
    """
    shipped = CHECKPOINTS / "default.pth"
    if shipped.is_file():
        return shipped
    trained = sorted(CHECKPOINTS.glob("*/best.pth"), key=lambda path: path.stat().st_mtime)
    if not trained:
        raise UsageError(
            f"no checkpoint: neither {shipped} nor a trained run is there; train one with `python main.py` or `make demo`, "
            "or name one with --checkpoint"
        )
    return trained[-1]


def score_videos(
    paths: list[Path], checkpoint: Checkpoint, options: PredictOptions, keep: Keep | None = None
) -> pd.DataFrame:
    """Score clips.

    Args:
        paths: the clips; each gets one row, in this order.
        checkpoint: model, features and calibration.
        options: workers, batch size, device.
        keep: gets the table as it stands every `KEEP_EVERY_S` seconds and at Ctrl-C, clips not reached yet being `pending`.

    Returns:
        `video, score, logit, verdict, threshold, status, reason` and a column per evidence term; score and logit are NaN
        for a clip that could not be scored (`unscored`).

    Raises:
        KeyboardInterrupt: after what is decoded has been scored and kept.
    """
    device = pick_device(options.device)
    model = checkpoint.build().to(device)
    workers = worker_count(options.workers, len(paths))
    limits = ExtractionConfig.model_validate(checkpoint.run_config.get("extraction", {}))
    samples = UntilInterrupted(samples_of(paths, checkpoint.features, model.inputs, limits, workers))
    progress = tqdm(samples, total=len(paths), unit="clip", desc="scoring", disable=options.quiet, dynamic_ncols=True)
    batches = batches_of(progress, options.batch_size)
    parts: list[pd.DataFrame] = []
    kept_at = time.monotonic()
    try:
        for part in scored_parts(model, batches, device=device, calibration=checkpoint.calibration, tta=options.tta):
            parts.append(part)
            if keep is not None and time.monotonic() - kept_at > KEEP_EVERY_S:
                keep(score_table(paths, parts, checkpoint.calibration, model.terms))
                kept_at = time.monotonic()
    except KeyboardInterrupt as interruption:
        samples.interrupted = interruption
    table = score_table(paths, parts, checkpoint.calibration, model.terms)
    if samples.interrupted is not None:
        if keep is not None:
            keep(table)
        raise samples.interrupted
    return table


Keep = Callable[[pd.DataFrame], object]
"""What takes a table of scores that is not complete yet."""

KEEP_EVERY_S = 30.0


class UntilInterrupted:
    """A stream that Ctrl-C ends like its last item, so that what came before it is still worked on."""

    def __init__(self, samples: Iterable[tuple[Sample, ClipFacts]]) -> None:
        """Pass these on."""
        self.samples = samples
        self.interrupted: KeyboardInterrupt | None = None

    def __iter__(self) -> Iterator[tuple[Sample, ClipFacts]]:
        """The samples up to the interruption."""
        try:
            yield from self.samples
        except KeyboardInterrupt as interruption:
            self.interrupted = interruption


def score_table(
    paths: list[Path], parts: list[pd.DataFrame], calibration: Calibration, terms: tuple[str, ...]
) -> pd.DataFrame:
    """The rows of all clips, in order, from what `scored_parts` gave; a clip that it did not reach is `pending`."""
    evidence = [f"{EVIDENCE_PREFIX}{term}" for term in terms]
    columns = ["score", "logit", "status", "reason", *evidence]
    scored = pd.concat(parts) if parts else pd.DataFrame(columns=["index", *columns])
    scored = scored.set_index("index").reindex(range(len(paths)))[columns]
    logit = scored["logit"].to_numpy(float)
    verdict = np.where(calibration.is_fake(scored["score"].to_numpy(float)), "fake", "real")
    table = pd.DataFrame(
        {
            "video": [str(path) for path in paths],
            "score": scored["score"],
            "logit": logit,
            "verdict": np.where(np.isnan(logit), "unscored", verdict),
            "threshold": calibration.threshold,
            "status": scored["status"].fillna("pending"),
            "reason": scored["reason"].fillna(""),
        }
    )
    return pd.concat([table, scored[evidence]], axis=1)


def samples_of(
    paths: list[Path], features: FeatureConfig, inputs: Collection[str], limits: ExtractionConfig, workers: int
) -> Iterator[tuple[Sample, ClipFacts]]:
    """The clips' samples in order, decoded in processes of their own: a decoder that dies costs its clip only."""
    layout = InputLayout(features, inputs)
    require_parts(features, layout.features)
    tasks = [ScoringTask(path, features, layout.features, limits.max_frames) for path in paths]
    results = run_in_workers(extract_in_memory, tasks, workers=workers, timeout_s=limits.timeout_s)
    for row, (_, clip, reason) in enumerate(results):
        clip = clip or failed(reason)
        yield make_sample(row, float("nan"), clip, layout), clip.facts


def score_to_files(
    paths: list[Path],
    checkpoint: Checkpoint,
    checkpoint_path: Path,
    options: PredictOptions,
    output: Path,
    report: Path | None = None,
) -> pd.DataFrame:
    """`score_videos`, with the table (and a report) on disk at the end, at an interruption and now and then before."""

    def write(table: pd.DataFrame) -> None:
        write_scores(table, output)
        if report is not None:
            write_scores_report(table, checkpoint, checkpoint_path, report)

    table = score_videos(paths, checkpoint, options, keep=write)
    write(table)
    return table


def write_scores(table: pd.DataFrame, path: Path) -> None:
    """Write scores as CSV, or as a JSON list when the name ends in .json; unknown values are empty, or null."""
    if path.suffix.lower() == ".json":
        records = table.astype(object).where(table.notna(), None).to_dict("records")
        write_text_atomic(path, json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        write_csv(table, path)


def write_scores_report(table: pd.DataFrame, checkpoint: Checkpoint, checkpoint_path: Path, path: Path) -> Path:
    """Write a report about scored clips nobody labelled: scores, evidence, coverage, and no claim of accuracy.

    Args:
        table: what `score_videos` returned.
        checkpoint: what scored them.
        checkpoint_path: where it lies.
        path: the HTML file.
    """
    inputs = ScreeningInputs(
        scores=table,
        evidence_prefix=EVIDENCE_PREFIX,
        calibration=checkpoint.calibration,
        measured=checkpoint.metrics,
        provenance={
            "command": shlex.join(["python", *sys.argv]),
            "checkpoint": str(checkpoint_path),
            "model": checkpoint.model["name"],
            **git_state(),
            "versions": package_versions(),
            "trained_at_commit": checkpoint.provenance.get("commit", "unknown"),
            "initialisation": checkpoint.provenance.get("initialisation", "unknown"),
        },
    )
    return write_screening_report(path, inputs)


def format_scores(table: pd.DataFrame) -> str:
    """The scores as an aligned table for the terminal."""
    shown = pd.DataFrame(
        {
            "video": table["video"],
            "score": table["score"].map(lambda value: "" if pd.isna(value) else f"{value:.4f}"),
            "verdict": table["verdict"],
            "reason": table["reason"],
        }
    )
    return shown.to_string(index=False, justify="left", max_colwidth=100)
