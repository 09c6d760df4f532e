"""Scoring of unlabelled clips into files: CSV, JSONL or JSON, and an HTML report."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from engine.detector import Clip, Detector, Score
from engine.load import is_installed
from engine.run_folder import check_output
from engine.score_lines import ScoreLines
from engine.score_queue import KeptRows, ScoreCounts, ScoreQueue, is_audio_only
from engine.score_rows import (
    CHECKPOINT_COLUMN,
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
from utils.errors import UsageError
from utils.files import writing
from utils.metrics.threshold_text import describe_thresholds

if TYPE_CHECKING:
    import pandas as pd

REPORT_PACKAGES = ("torch", "pandas", "scipy", "jinja2", "matplotlib", "moviepy")
"""Packages that the light installation lacks. Saliency and maps of an expert need torch."""


@dataclass(frozen=True)
class ScoringOptions:
    """Settings that affect speed, not scores.

    Attributes:
        workers: number of decoding processes; 0 for one per core.
        batch_size: clips per forward pass.
        quiet: whether to hide the progress bar.
    """

    workers: int = 0
    batch_size: int = 8
    quiet: bool = False


@dataclass(frozen=True)
class ScoreFiles:
    """Destination of scores.

    Attributes:
        output: CSV, JSONL or JSON file, by its suffix.
        report: HTML file; `None` for no report.
        pages: maximum number of pages about single clips, written next to the report.
        resume: whether to keep the rows of an existing output file.
        render: video file for a copy of the clip with its time line; `None` for none. Only for a single clip.
        timeline: folder for the time line of each clip, as JSON and as a picture; `None` for no time lines.
    """

    output: Path
    report: Path | None = None
    pages: int = 0
    resume: bool = False
    render: Path | None = None
    timeline: Path | None = None

    def parts(self, clips: ScoreQueue, n_scored: int, windowed: bool) -> Iterator[tuple[Iterable[Path], bool]]:
        """Split the clips of a round by whether their scores need a time line, which takes longer.

        Args:
            clips: the clips.
            n_scored: number of clips scored in earlier rounds.
            windowed: whether the detector can score parts of a clip.
        """
        n_needed = 1 if self.render else max(0, self.pages - n_scored)
        if self.timeline is not None or not windowed or not n_needed:
            yield clips, self.timeline is not None
        elif 0 <= length_hint(clips, -1) <= n_needed:
            yield clips, True
        else:
            remaining = iter(clips)
            yield islice(remaining, n_needed), True
            yield remaining, False

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> ScoreFiles:
        """Return the files named on the command line.

        Raises:
            UsageError: a file cannot be written, or a suffix is not supported.
        """
        report, render = arguments.report, arguments.render
        if report or render or arguments.timeline:
            check_report_packages()
        return cls(
            output=check_output(arguments.output, "--output"),
            report=check_output(Path(report) / "report.html", "--report") if report else None,
            pages=arguments.report_pages if report else 0,
            resume=arguments.resume,
            timeline=check_output(Path(arguments.timeline) / "x", "--timeline").parent if arguments.timeline else None,
            render=check_output(checked_render_output(render), "--render") if render else None,
        )


def score_table(detector: Detector, clips: Sequence[Clip], options: ScoringOptions | None = None) -> pd.DataFrame:
    """Score clips and return the table of `scores_table`."""
    options = options or ScoringOptions()
    scores = detector.score_many(
        clips, workers=options.workers, batch_size=options.batch_size, progress=not options.quiet
    )
    return scores_table(scores, detector)


def score_to_files(
    detector: Detector,
    rounds: Iterable[Iterable[Path]],
    files: ScoreFiles,
    options: ScoringOptions,
    show: Callable[[str], object],
) -> ScoreCounts:
    """Score clips, write each row to the output file when it is ready, and print it.

    If scoring is interrupted or fails, the clips that are known but have no row get one with the status `pending`.

    Args:
        detector: the detector.
        rounds: the clips, usually in one round; a round is scored before the next one is read.
        files: destination.
        options: workers, batch size, progress bar.
        show: receives the lines of the table, also while writing fails.

    Returns:
        The numbers of clips.

    Raises:
        UsageError: the rows of an existing file cannot be kept; the file is unchanged.
        WriteError: a file could not be written.
        KeyboardInterrupt: after the files have been written.
    """
    columns, identity = columns_of(detector), checkpoint_id(detector)
    counts = ScoreCounts()
    kept = KeptRows(files.output if files.resume else None, columns, identity)
    writer = ScoreWriter(files.output, columns, kept)
    queue = ScoreQueue(kept, counts)
    lines = ScoreLines.for_stream(detector.terms)
    show(lines.header())

    def scores_of(clips: Iterable[Path]) -> Iterator[Score]:
        for part, timeline in files.parts(queue.fill(clips), counts.clips - counts.kept, detector.layout.windowed):
            yield from detector.score_many(
                part,
                workers=options.workers,
                batch_size=options.batch_size,
                progress=not options.quiet,
                timeline=timeline,
            )

    def written(clips: Iterable[Path]) -> Iterator[Score]:
        for score in scores_of(clips):
            if files.timeline is not None:
                from engine.timeline.files import write_timeline

                with writing(files.timeline):
                    write_timeline(score, files.timeline)
            row = row_of(score) | {CHECKPOINT_COLUMN: identity}
            queue.has_row(writer.add(row))
            counts.add(score.verdict, audio_only=is_audio_only(row))
            with tqdm.external_write_mode():
                show(lines.line(row))
            if files.render is not None:
                from engine.evidence.render import render_clip

                render_clip(detector, Path(score.video), score, files.render)
            yield score

    try:
        for clips in rounds:
            scores = written(clips)
            left = files.pages - (counts.clips - counts.kept)
            if files.report is not None and left > 0:
                from engine.report.clip_files import write_clip_pages

                scores = write_clip_pages(detector, scores, files.report, limit=left, workers=options.workers)
            deque(scores, maxlen=0)
    finally:
        finish(writer, queue, detector, identity, files)
    show(describe_thresholds(detector.checkpoint.calibration))
    show_notes(counts, files, show)
    return counts


def show_notes(counts: ScoreCounts, files: ScoreFiles, show: Callable[[str], object]) -> None:
    """Print how many clips were scored by their audio alone, and the names of the further files."""
    if counts.audio_only:
        show(f"no_video: only the audio of {counts.audio_only} clip{'s' * (counts.audio_only > 1)} was scored")
    for name, path in (("report", files.report), ("video", files.render), ("time lines", files.timeline)):
        if path is not None:
            show(f"{name}: {path}")


def finish(writer: ScoreWriter, queue: ScoreQueue, detector: Detector, identity: str, files: ScoreFiles) -> None:
    """Write the rows of clips without a score, put the rows in the order of the clips, and write the report."""
    try:
        for clip in queue.without_row():
            queue.has_row(writer.add(pending_row(str(clip), detector) | {CHECKPOINT_COLUMN: identity}))
    finally:
        writer.close(queue.finished_order())
    if files.report is not None:
        with writing(files.report):
            columns = columns_of(detector)
            table = table_of_rows(read_rows(files.output, columns), columns).drop(columns=CHECKPOINT_COLUMN)
            write_scores_report(table, detector, files.report)


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


def check_report_packages() -> None:
    """Raise a `UsageError` that says how to install the packages for reports and videos if they are missing."""
    missing = [name for name in REPORT_PACKAGES if not is_installed(name)]
    if missing:
        raise UsageError(
            f"--report, --timeline and --render need {', '.join(missing)}: install everything with `make install`"
        )


def checked_render_output(path: str) -> Path:
    """Return the path of the video to write; see `check_render_output`."""
    from engine.evidence.render import check_render_output

    return check_render_output(Path(path))
