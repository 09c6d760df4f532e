"""Calibration metrics: Brier score, expected calibration error, and the bins of a reliability diagram."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from utils.metrics.estimate import Estimate, as_target_and_score

BINS = 15


class ReliabilityBin(NamedTuple):
    """Clips with a score in [low, high); the last bin includes 1.

    Attributes:
        low: Lower edge of the bin.
        high: Upper edge of the bin.
        n: Number of clips in the bin.
        mean_score: Mean score of the clips, or ``None`` if there are none.
        fake_share: Share of fakes among the clips, or ``None`` if there are none.
    """

    low: float
    high: float
    n: int
    mean_score: float | None
    fake_share: float | None


def brier_score(target: ArrayLike, score: ArrayLike) -> Estimate:
    """Compute the mean squared difference between the probability of fake and the target (Brier, 1950); 0 is best."""
    is_fake, score = _as_probabilities(target, score)
    if len(score) == 0:
        return Estimate(None, "no clips")
    return Estimate(float(np.mean((score - is_fake) ** 2)))


def expected_calibration_error(target: ArrayLike, score: ArrayLike, bins: int = BINS) -> Estimate:
    """Compute the expected calibration error; 0 is best.

    This is the mean gap between score and share of fakes over equal-width bins, weighted by the number of clips. The
    score is the probability of fake, not the confidence in the predicted class.
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
    """Compute the mean score and the share of fakes in each of ``bins`` equal-width bins of [0, 1].

    Args:
        target: (n,) 1 for fake, 0 for real.
        score: (n,) probability of fake in [0, 1].
        bins: Number of bins.

    Raises:
        ValueError: A score is outside [0, 1].
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
        raise ValueError("a score is outside [0, 1], so it is not a probability")
    return is_fake, score
