"""Conversion of a predictions table to the arrays that the metrics use, with validation of every value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from utils.errors import UsageError
from utils.metrics.calibration import Calibration

# Placeholder values of targets in label files without ground truth.
PLACEHOLDER_TARGETS = (-1.0, 0.5)
NOT_GIVEN = "(none)"


@dataclass(frozen=True)
class EvaluatedClips:
    """The labelled clips of a split and their predictions.

    Attributes:
        table: The n labelled rows, with a new index.
        is_fake: (n,) true for fake.
        scored: (n,) true if the clip has a score.
        ranking: (n,) value that the clips are ranked by: the logit, or the score without logits; NaN if unscored.
        score: (n,) value compared with the threshold; NaN if unscored.
        logit: (n,) logit, NaN if unscored; ``None`` unless every scored clip has one.
        not_probability: Why ``score`` is not a probability; empty if it is.
        n_unlabelled: Number of rows omitted because they have no target.
        no_targets: Why no row has a target; empty if some have one.
    """

    table: pd.DataFrame
    is_fake: np.ndarray
    scored: np.ndarray
    ranking: np.ndarray
    score: np.ndarray
    logit: np.ndarray | None
    not_probability: str
    n_unlabelled: int
    no_targets: str

    def labels(self, column: str) -> np.ndarray | None:
        """Return a label column as text, with ``(none)`` for empty cells; ``None`` if it is absent or entirely empty."""
        if column not in self.table:
            return None
        values = self.table[column]
        texts = values.where(values.notna(), "").astype(str).str.strip().to_numpy(dtype=object)
        given = texts != ""
        return np.where(given, texts, NOT_GIVEN) if given.any() else None

    def groups(self) -> np.ndarray | None:
        """Return the group index of each clip; ``None`` without a ``group`` column. An unnamed group has one clip."""
        labels = self.labels("group")
        if labels is None:
            return None
        own = [f"\0{row}" if label == NOT_GIVEN else label for row, label in enumerate(labels)]
        return np.unique(np.array(own, dtype=object).astype(str), return_inverse=True)[1]


def evaluated_clips(predictions: pd.DataFrame, calibration: Calibration | None) -> EvaluatedClips:
    """Select the labelled rows of a predictions table and parse their numbers.

    With a calibration, the score is computed from the logit if there is one. Otherwise the table's score is used.

    Raises:
        UsageError: A required column is missing or contains a value outside its range. The message names column and clip.
    """
    target, no_targets = read_targets(predictions)
    labelled = ~np.isnan(target)
    table = (predictions[labelled] if labelled.any() else predictions).reset_index(drop=True)
    score = read_numbers(table, "score") if "score" in table else None
    logit = read_numbers(table, "logit") if "logit" in table else None
    given = [numbers for numbers in (score, logit) if numbers is not None]
    if not given:
        raise UsageError("the predictions have neither a score nor a logit column")
    scored = np.any(~np.isnan(given), axis=0)
    nothing_to_rank_by = not scored.any() and score is not None
    if logit is not None and (np.isnan(logit[scored]).any() or nothing_to_rank_by):
        logit = None
    if logit is not None and (score is None or calibration is not None or np.isnan(score[scored]).any()):
        score = expit(logit) if calibration is None else calibration.score(logit)
    if score is None or np.isnan(score[scored]).any():
        raise UsageError("some clips have only a score and others only a logit, so they cannot be ranked together")
    outside = scored & ~((score >= 0) & (score <= 1))
    return EvaluatedClips(
        table=table,
        is_fake=target[labelled] == 1 if labelled.any() else np.zeros(len(table), dtype=bool),
        scored=scored,
        ranking=score if logit is None else logit,
        score=score,
        logit=logit,
        not_probability="the scores are not all within [0, 1]" if outside.any() else "",
        n_unlabelled=int((~labelled).sum()),
        no_targets=no_targets,
    )


def read_targets(table: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Read the targets.

    Returns:
        (n,) targets as 0, 1 or NaN (empty or a placeholder), and why no target is known (empty if one is).

    Raises:
        UsageError: A target is neither 0, 1, empty nor a placeholder (-1, 0.5).
    """
    if "target" not in table:
        return np.full(len(table), np.nan), "there is no target column"
    target = read_numbers(table, "target")
    known = np.isin(target, (0.0, 1.0))
    placeholder = np.isin(target, PLACEHOLDER_TARGETS)
    wrong = ~(known | placeholder | np.isnan(target))
    # An unknown value that is the same in every row is also a placeholder.
    if wrong.any() and not (wrong.all() and len(target) > 1 and np.ptp(target) == 0):
        row = int(np.argmax(wrong))
        raise UsageError(f"the target of {_name(table, row)} is {target[row]:g}; it must be 1 (fake) or 0 (real)")
    reason = ""
    if not known.any():
        given = np.unique(target[~np.isnan(target)])
        shown = ", ".join(f"{value:g}" for value in given)
        reason = f"the targets are placeholders ({shown})" if len(given) else "the targets are empty"
    return np.where(known, target, np.nan), reason


def read_numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """Parse a column as float64, with NaN for empty cells.

    Raises:
        UsageError: A cell is not a number, or is infinite.
    """
    cells = table[column]
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    text = cells.where(cells.notna(), "").astype(str).str.strip()
    wrong = (np.isnan(values) & (text != "").to_numpy()) | np.isinf(values)
    if wrong.any():
        row = int(np.argmax(wrong))
        found = f"the {column} of {_name(table, row)} is {text.iloc[row]!r}"
        raise UsageError(f"{found}; it must be a finite number or empty")
    return values


def _name(table: pd.DataFrame, row: int) -> str:
    return str(table["video_name"].iloc[row]) if "video_name" in table else f"row {row + 1}"
