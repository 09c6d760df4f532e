"""How well probabilities hold: Brier score, expected calibration error and the table behind a reliability diagram."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from utils.metrics.estimate import Estimate, as_target_and_score

BINS = 15


class ReliabilityBin(NamedTuple):
    """The clips whose score lies in [low, high), the last bin including 1.

    Attributes:
        low: Lower edge of the bin.
        high: Upper edge of the bin.
        n: Number of clips in it.
        mean_score: Their mean score, or ``None`` when there are none.
        fake_share: The share of them that is fake, or ``None`` when there are none.
    """

    low: float
    high: float
    n: int
    mean_score: float | None
    fake_share: float | None


def brier_score(target: ArrayLike, score: ArrayLike) -> Estimate:
    """Mean squared difference between the probability of fake and the target (Brier, 1950); 0 is best."""
    is_fake, score = _as_probabilities(target, score)
    if len(score) == 0:
        return Estimate(None, "no clips")
    return Estimate(float(np.mean((score - is_fake) ** 2)))


def expected_calibration_error(target: ArrayLike, score: ArrayLike, bins: int = BINS) -> Estimate:
    """Mean gap between the score and the share of fakes over equal-width bins, weighted by their clips; 0 is best.

    The score is the probability of fake, not the confidence in the predicted class.
    """
    table = reliability_table(target, score, bins)
    n = sum(row.n for row in table)
    if n == 0:
        return Estimate(None, "no clips")
    gaps = (
        row.n * abs(row.mean_score - row.fake_share)
        for row in table
        if row.mean_score is not None and row.fake_share is not None
    )
    return Estimate(sum(gaps) / n)


def reliability_table(target: ArrayLike, score: ArrayLike, bins: int = BINS) -> list[ReliabilityBin]:
    """Divide [0, 1] into ``bins`` equal bins and compare the mean score with the share of fakes in each.

    Args:
        target: (n,) 1 for fake, 0 for real.
        score: (n,) probability of fake in [0, 1].
        bins: Number of bins.

    Raises:
        ValueError: A score lies outside [0, 1].
    """
    is_fake, score = _as_probabilities(target, score)
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, bins - 1)
    n = np.bincount(bin_of, minlength=bins)
    score_sum = np.bincount(bin_of, score, minlength=bins)
    fake_sum = np.bincount(bin_of, is_fake, minlength=bins)
    return [
        ReliabilityBin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            n=int(n[i]),
            mean_score=float(score_sum[i] / n[i]) if n[i] else None,
            fake_share=float(fake_sum[i] / n[i]) if n[i] else None,
        )
        for i in range(bins)
    ]


def _as_probabilities(target: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    is_fake, score = as_target_and_score(target, score)
    if len(score) and not (score.min() >= 0 and score.max() <= 1):
        raise ValueError("a score lies outside [0, 1] and is no probability")
    return is_fake, score
