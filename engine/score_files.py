"""Scores of unlabelled clips as a table, and as files on disk: CSV or JSON, and an HTML report."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine.detector import Clip, Detector, Score
from engine.provenance import git_state, package_versions
from engine.report import ScreeningInputs, write_screening_report
from engine.report.text import FORMULA_STARTS, visible
from engine.run_folder import write_csv
from engine.scoring import EVIDENCE_PREFIX
from utils.files import write_text_atomic, writing
from utils.metrics import Calibration
from utils.metrics.threshold_text import describe_thresholds

log = logging.getLogger(__name__)

WRITE_EVERY_S = 30.0
"""Interval between writes of the scores so far, in seconds."""


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
        output: CSV file, or a JSON file if its name ends in .json.
        report: HTML file; `None` for no report.
    """

    output: Path
    report: Path | None = None

    def write(self, table: pd.DataFrame, detector: Detector) -> None:
        """Write a table of scores and its report.

        Raises:
            WriteError: a file cannot be written.
        """
        with writing(self.output):
            write_scores(table, self.output)
        if self.report is not None:
            with writing(self.report):
                write_scores_report(table, detector, self.report)


def score_table(detector: Detector, clips: Sequence[Clip], options: ScoringOptions | None = None) -> pd.DataFrame:
    """Score clips and return the table of `scores_table`."""
    options = options or ScoringOptions()
    scores = detector.score_many(
        clips, workers=options.workers, batch_size=options.batch_size, progress=not options.quiet
    )
    return scores_table(scores, detector)


def score_to_files(
    detector: Detector,
    clips: Sequence[Path],
    files: ScoreFiles,
    options: ScoringOptions,
    show: Callable[[str], object],
) -> pd.DataFrame:
    """Score clips, write the table to files and print it.

    The files are also written every `WRITE_EVERY_S` seconds and when scoring is interrupted or fails. Clips that have not been
    scored by then have the status `pending`.

    Args:
        detector: the detector.
        clips: the clips, in the order of the rows.
        files: destination.
        options: workers, batch size, progress bar.
        show: receives the table as text, also if writing it failed. After an interruption it is called only in that case.

    Raises:
        WriteError: a file could not be written.
        KeyboardInterrupt: after the files have been written.
    """
    scores: list[Score] = []
    ended: BaseException | None = None
    written_at = time.monotonic()
    try:
        for score in detector.score_many(
            clips, workers=options.workers, batch_size=options.batch_size, progress=not options.quiet
        ):
            scores.append(score)
            if time.monotonic() - written_at > WRITE_EVERY_S and len(scores) < len(clips):
                try_to_write(files, scores_table(scores, detector, clips), detector)
                written_at = time.monotonic()
    except (Exception, KeyboardInterrupt) as error:  # keep the finished scores on any error
        ended = error
    table = scores_table(scores, detector, clips)
    calibration = detector.checkpoint.calibration
    try:
        files.write(table, detector)
    except OSError:
        show(format_scores(table, calibration))
        raise
    if ended is not None:
        raise ended
    show(format_scores(table, calibration))
    return table


def try_to_write(files: ScoreFiles, table: pd.DataFrame, detector: Detector) -> None:
    """Write the scores so far; a failure is logged, and scoring continues."""
    try:
        files.write(table, detector)
    except OSError as error:
        log.warning("%s; scoring continues", error)


def scores_table(scores: Iterable[Score], detector: Detector, clips: Sequence[Clip] = ()) -> pd.DataFrame:
    """Return scores as a table.

    Args:
        scores: scores of all clips, or of the first ones.
        detector: the detector that computed them.
        clips: all clips, if some have no score yet; those get rows with the status `pending`.

    Returns:
        `video, score, logit, verdict, threshold, status, reason` and a column `evidence_<expert>` per expert. `threshold` is
        the lowest score with the verdict `fake`. Score and logit are NaN if the verdict is `unscored`.
    """
    rows = [row_of(score) for score in scores]
    threshold = detector.checkpoint.calibration.threshold
    for clip in clips[len(rows) :]:
        pending = {"video": str(clip), "verdict": "unscored", "threshold": threshold, "status": "pending", "reason": ""}
        rows.append(pending)
    numeric = ["score", "logit", *(EVIDENCE_PREFIX + term for term in detector.terms)]
    columns = ["video", "score", "logit", "verdict", "threshold", "status", "reason", *numeric[2:]]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numeric, np.float64))


def row_of(score: Score) -> Mapping[str, Any]:
    """Return a score as a row of the table."""
    evidence = {EVIDENCE_PREFIX + term: value for term, value in score.evidence.items()}
    return {
        "video": score.video,
        "score": score.score,
        "logit": score.logit,
        "verdict": score.verdict,
        "threshold": score.thresholds["fake"],
        "status": score.status,
        "reason": score.reason,
        **evidence,
    }


def write_scores(table: pd.DataFrame, path: Path) -> None:
    """Write scores as CSV, or as a JSON list if the name ends in .json; unknown values are empty cells or null.

    Raises:
        WriteError: the file cannot be written.
    """
    if path.suffix.lower() == ".json":
        records = table.astype(object).where(table.notna(), None).to_dict("records")
        write_text_atomic(path, json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        write_csv(table.assign(video=table["video"].map(plain_cell)), path)


def plain_cell(name: str) -> str:
    """Return a path that spreadsheets do not take for a formula. `./=a.mp4` and `=a.mp4` are the same file."""
    return f"./{name}" if name.startswith(FORMULA_STARTS) else name


def write_scores_report(table: pd.DataFrame, detector: Detector, path: Path) -> Path:
    """Write an HTML report about unlabelled clips: scores, evidence and coverage, but no accuracy.

    Args:
        table: see `scores_table`.
        detector: the detector that scored the clips.
        path: the HTML file.

    Raises:
        WriteError: the file cannot be written.
    """
    checkpoint = detector.checkpoint
    inputs = ScreeningInputs(
        scores=table,
        evidence_prefix=EVIDENCE_PREFIX,
        calibration=checkpoint.calibration,
        measured=checkpoint.metrics,
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


def format_scores(table: pd.DataFrame, calibration: Calibration) -> str:
    """Return the scores as an aligned table for the terminal, followed by the thresholds and their error rates.

    A last line states how many clips were scored by their audio alone.
    """
    shown = pd.DataFrame(
        {
            "video": table["video"].map(visible),
            "score": table["score"].map(lambda value: "" if pd.isna(value) else f"{value:.4f}"),
            "verdict": table["verdict"],
            "reason": table["reason"],
        }
    )
    lines = [shown.to_string(index=False, justify="left", max_colwidth=100), describe_thresholds(calibration)]
    no_video = table["reason"].str.split("+").map(lambda codes: "no_video" in codes)
    audio_only = int((no_video & table["score"].notna()).sum())
    if audio_only:
        lines.append(f"no_video: only the audio of {audio_only} clip{'s' * (audio_only > 1)} was scored")
    return "\n".join(lines)
