"""Scoring of unlabelled clips into files: CSV, JSONL or JSON, and an HTML report."""

from __future__ import annotations

import shlex
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from dataset.workers import LOCAL, Engine
from engine.clip_inputs import ClipRounds
from engine.detector import Clip, Detector, Score
from engine.remote_clips import NamedClip
from engine.score_destination import ScoreFiles
from engine.score_lines import ScoreLines
from engine.score_queue import KeptRows, ScoreCounts, ScoreQueue, is_audio_only
from engine.score_rows import (
    CHECKPOINT_COLUMN,
    UNTABLED_COLUMNS,
    checkpoint_id,
    columns_of,
    pending_row,
    read_rows,
    row_of,
    scores_table,
    table_of_rows,
)
from engine.score_writer import ScoreWriter
from engine.scoring import EVIDENCE_PREFIX
from engine.scoring_progress import StepBar
from utils.files import writing
from utils.interruption import interruption_deferred
from utils.metrics.threshold_text import describe_thresholds

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ScoringOptions:
    """Settings that affect speed, not scores.

    Attributes:
        workers: number of decoding processes; 0 for one per core.
        batch_size: clips per forward pass.
        quiet: whether to hide the progress bar.
        engine: where clips are decoded.
    """

    workers: int = 0
    batch_size: int = 8
    quiet: bool = False
    engine: Engine = LOCAL


def score_table(detector: Detector, clips: Sequence[Clip], options: ScoringOptions | None = None) -> pd.DataFrame:
    """Score clips and return the table of `scores_table`."""
    options = options or ScoringOptions()
    scores = detector.score_many(
        clips,
        workers=options.workers,
        batch_size=options.batch_size,
        progress=not options.quiet,
        engine=options.engine,
    )
    return scores_table(scores, detector)


def score_to_files(
    detector: Detector,
    rounds: ClipRounds,
    files: ScoreFiles,
    options: ScoringOptions,
    show: Callable[[str], object],
) -> ScoreCounts:
    """Score clips, write each row to the output file when it is ready, and print it.

    If scoring is interrupted or fails, the clips that are known but have no row get one with the status `pending`.

    Args:
        detector: the detector.
        rounds: the clips.
        files: destination.
        options: workers, batch size, progress bar.
        show: receives the lines of the table, also while writing fails.

    Returns:
        The numbers of clips.

    Raises:
        UsageError: the rows of an existing file cannot be kept; the file is unchanged.
        WriteError: a file could not be written.
        KeyboardInterrupt: after the files have been written; its message names the output file.
    """
    if rounds.opening:
        show(rounds.opening)
        show(describe_thresholds(detector.checkpoint.calibration))
    run = ScoringRun(detector, files, options, show)
    try:
        try:
            for clips in rounds:
                run.score(clips)
        finally:
            run.finish()
    except KeyboardInterrupt as interruption:
        interruption.args = (f"everything finished so far is kept in {files.named}; --resume scores the rest",)
        raise
    show(describe_thresholds(detector.checkpoint.calibration))
    show_notes(run.counts, files, show)
    return run.counts


class ScoringRun:
    """Scoring of clips into files, row by row; see `score_to_files`.

    Attributes:
        counts: numbers of clips so far.
    """

    def __init__(
        self, detector: Detector, files: ScoreFiles, options: ScoringOptions, show: Callable[[str], object]
    ) -> None:
        """Open the output file and show the header of the table."""
        self.counts = ScoreCounts()
        self._detector, self._files, self._options, self._show = detector, files, options, show
        self._identity = checkpoint_id(detector)
        columns = columns_of(detector)
        kept = KeptRows(files.output if files.resume else None, columns, self._identity)
        self._writer = ScoreWriter(files.output, columns, kept)
        self._queue = ScoreQueue(kept, self.counts)
        self._lines = ScoreLines.for_stream(detector.terms)
        self._steps = StepBar()
        show(self._lines.header())

    @property
    def _n_scored(self) -> int:
        return self.counts.clips - self.counts.kept

    def score(self, clips: Iterable[NamedClip]) -> None:
        """Score a round of clips and write everything about them."""
        found = self._scores(clips)
        scores: Iterator[Score] = map(self._write, found)
        left = self._files.pages - self._n_scored
        if self._files.report is not None and left > 0:
            from engine.report.clip_files import write_clip_pages

            scores = write_clip_pages(
                self._detector,
                scores,
                self._files.report,
                limit=left,
                workers=self._options.workers,
                progress=None if self._options.quiet else self._steps.report,
            )
        try:
            with self._steps:
                deque(scores, maxlen=0)
        except KeyboardInterrupt as interruption:
            # Write the scores of the clips that have been decoded. The generator then raises the interruption again.
            self._write(found.throw(interruption))
            deque(map(self._write, found), maxlen=0)
            raise

    def _scores(self, clips: Iterable[NamedClip]) -> Generator[Score, None, None]:
        windowed = self._detector.layout.windowed
        for part, timeline in self._files.parts(self._queue.fill(clips), self._n_scored, windowed):
            yield from self._detector.score_many(
                part,
                workers=self._options.workers,
                batch_size=self._options.batch_size,
                progress=not self._options.quiet,
                timeline=timeline,
                engine=self._options.engine,
            )

    def _write(self, score: Score) -> Score:
        """Write and print a score, and return it."""
        files = self._files
        row = row_of(score) | {CHECKPOINT_COLUMN: self._identity}
        with interruption_deferred():
            self._queue.has_row(self._writer.add(row))
        self.counts.add(score.verdict, audio_only=is_audio_only(row))
        with tqdm.external_write_mode():
            self._show(self._lines.line(row))
        if files.timeline is not None:
            from engine.timeline.files import write_timeline

            with writing(files.timeline):
                write_timeline(score, files.timeline)
        if files.render is not None:
            from engine.evidence.render import render_clip

            render_clip(self._detector, Path(score.video), score, files.render)
            if is_audio_only(row):
                self._show("the clip has no video: the rendered one shows its time line on a black picture")
        return score

    def finish(self) -> None:
        """Write the rows of clips without a score, put the rows in the order of the clips, and write the report."""
        try:
            try:
                for clip in self._queue.without_row():
                    row = pending_row(str(clip), self._detector) | {CHECKPOINT_COLUMN: self._identity}
                    self._queue.has_row(self._writer.add(row))
            finally:
                self._writer.close(self._queue.finished_order())
            self._write_report()
        finally:
            self._files.publish()

    def _write_report(self) -> None:
        detector, files = self._detector, self._files
        if files.report is not None:
            with writing(files.report):
                columns = columns_of(detector)
                table = table_of_rows(read_rows(files.output, columns), columns).drop(columns=list(UNTABLED_COLUMNS))
                write_scores_report(table, detector, files.report)


def show_notes(counts: ScoreCounts, files: ScoreFiles, show: Callable[[str], object]) -> None:
    """Print how many clips were scored by their audio alone, and the names of the further files."""
    if counts.audio_only:
        show(f"no_video: only the audio of {counts.audio_only} clip{'s' * (counts.audio_only > 1)} was scored")
    for name, path in (("report", files.report), ("video", files.render), ("time lines", files.timeline)):
        if path is not None:
            show(f"{name}: {path}")


def write_scores_report(table: pd.DataFrame, detector: Detector, path: Path) -> Path:
    """Write an HTML report about unlabelled clips: scores, evidence and coverage, but no accuracy.

    Args:
        table: see `scores_table`.
        detector: the detector that scored the clips.
        path: the HTML file.

    Raises:
        WriteError: the file cannot be written.
    """
    from engine.provenance import git_state, package_versions
    from engine.report import ScreeningInputs, write_screening_report
    from engine.report.clip_files import page_link

    checkpoint = detector.checkpoint
    inputs = ScreeningInputs(
        scores=table,
        evidence_prefix=EVIDENCE_PREFIX,
        calibration=checkpoint.calibration,
        measured=checkpoint.metrics,
        link=partial(page_link, path),
        provenance={
            "command": shlex.join(["python", *sys.argv]),
            "checkpoint": str(detector.path),
            "model": checkpoint.model["name"],
            **git_state(),
            "versions": package_versions(),
            "trained_at_commit": checkpoint.provenance.get("commit", "unknown"),
            "initialisation": checkpoint.provenance.get("initialisation", "unknown"),
        },
    )
    return write_screening_report(path, inputs)
