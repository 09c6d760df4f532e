"""Return types of the metrics: a value, or ``None`` with a reason."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

REAL = 0
FAKE = 1


class Estimate(NamedTuple):
    """A metric value.

    Attributes:
        value: The value, or ``None`` if it cannot be computed.
        reason: Why ``value`` is ``None``; empty otherwise.
    """

    value: float | None
    reason: str = ""


class Interval(NamedTuple):
    """A metric value with a confidence interval.

    Attributes:
        value: The value on all data, or ``None``.
        low: Lower confidence limit, or ``None``.
        high: Upper confidence limit, or ``None``.
        units: Number of independent units (clips, groups or sources) that the interval resamples.
        reason: Why ``value`` or the limits are ``None``, or which other method produced the limits.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    units: int = 0
    reason: str = ""


def as_target_and_score(target: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Validate targets and scores and convert them to arrays.

    Args:
        target: (n,) 1 for fake, 0 for real.
        score: (n,) higher means more likely fake. Infinite values rank first or last; NaN is rejected.

    Returns:
        The targets as booleans (true for fake) and the scores as float64.

    Raises:
        ValueError: The columns differ in length, a target is neither 0 nor 1, or a score is NaN.
    """
    target = np.asarray(target)
    score = np.asarray(score, dtype=np.float64)
    if target.ndim != 1 or target.shape != score.shape:
        raise ValueError(f"target and score must be columns of one length, got shapes {target.shape} and {score.shape}")
    is_fake = target == FAKE
    if not np.all(is_fake | (target == REAL)):
        raise ValueError("every target must be 0 (real) or 1 (fake)")
    if np.isnan(score).any():
        raise ValueError("a score is NaN; omit unscored clips")
    return is_fake, score


def missing_class(n_real: int, n_fake: int) -> str:
    """Name the missing class, or return an empty string if both are present."""
    if n_real == 0 and n_fake == 0:
        return "no clips"
    if n_real == 0:
        return "no real clips"
    if n_fake == 0:
        return "no fake clips"
    return ""


def count_of(number: int, noun: str) -> str:
    """Format a count with its noun, for example ``1 real clip`` or ``15 real clips``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
