"""DeLong's variance of an AUC, the paired test of two AUCs on the same clips, and Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, ndtr

from utils.metrics.clips import evaluated_clips
from utils.metrics.estimate import Interval, as_target_and_score, missing_class
from utils.metrics.intervals import Z_95, newcombe_interval
from utils.metrics.predictions import pair

# A non-zero difference of placements is at least 1 / (2 n^2); a smaller variance is rounding error.
ROUNDING = 1e-20


class DeLongTest(NamedTuple):
    """Comparison of two AUCs measured on the same clips.

    Attributes:
        auc_a: AUC of the first scores, or ``None``.
        auc_b: AUC of the second scores, or ``None``.
        delta: ``auc_a - auc_b``.
        low: Lower 95 % limit of ``delta``.
        high: Upper 95 % limit of ``delta``.
        p: Two-sided p-value of the hypothesis that both AUCs are equal.
        n: Number of clips that were compared.
        reason: Why a figure is ``None``; empty when none is.
    """

    auc_a: float | None
    auc_b: float | None
    delta: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    reason: str = ""


def delong_covariance(target: ArrayLike, scores: Sequence[ArrayLike]) -> tuple[np.ndarray, np.ndarray]:
    """Return the AUCs of several scores of the same clips and their covariance (DeLong et al., 1988).

    Placements are computed from mid-ranks (Sun and Xu, 2014), which takes O(n log n) instead of comparing all pairs.

    Args:
        target: (n,) 1 for fake, 0 for real, at least two of each.
        scores: S columns of n scores.

    Returns:
        (S,) AUCs and their (S, S) covariance.

    Raises:
        ValueError: The columns do not fit together, or a class has fewer than two clips.
    """
    columns = [as_target_and_score(target, score) for score in scores]
    is_fake = columns[0][0]
    n_fake = int(is_fake.sum())
    n_real = len(is_fake) - n_fake
    if min(n_fake, n_real) < 2:
        raise ValueError(f"DeLong's variance takes 2 clips of each class, got {n_real} real and {n_fake} fake")
    placed = np.stack([_placements(is_fake, score) for _, score in columns])
    of_fake, of_real = placed[:, is_fake], placed[:, ~is_fake]
    covariance = np.cov(of_fake).reshape(len(columns), -1) / n_fake + np.cov(of_real).reshape(len(columns), -1) / n_real
    return of_fake.mean(axis=1), covariance


def delong_interval(target: ArrayLike, score: ArrayLike) -> Interval:
    """Return an AUC with a 95 % interval from DeLong's variance.

    The interval is computed on the logit scale (Pepe, 2003), so it stays within [0, 1]. If the variance is zero
    (perfect separation), Newcombe's limits are used and ``reason`` says so. The cost is one sort, which suits tables
    with many rows.
    """
    is_fake, score = as_target_and_score(target, score)
    n_fake = int(is_fake.sum())
    n_real = len(is_fake) - n_fake
    if min(n_real, n_fake) == 0:
        return Interval(None, units=len(score), reason=missing_class(n_real, n_fake))
    if min(n_real, n_fake) == 1:
        auc = float(_placements(is_fake, score)[is_fake].mean())
        return Interval(auc, units=len(score), reason=f"only 1 {'real' if n_real == 1 else 'fake'} clip")
    aucs, covariance = delong_covariance(is_fake, [score])
    auc, variance = float(aucs[0]), float(covariance[0, 0])
    if variance <= 0 or not 0 < auc < 1:
        low, high = newcombe_interval(auc, n_real, n_fake)
        return Interval(auc, low, high, len(score), "Newcombe's limits, because DeLong's variance is zero")
    half_width = Z_95 * np.sqrt(variance) / (auc * (1 - auc))
    centre = np.log(auc / (1 - auc))
    return Interval(auc, float(expit(centre - half_width)), float(expit(centre + half_width)), len(score))


def delong_test(target: ArrayLike, score_a: ArrayLike, score_b: ArrayLike) -> DeLongTest:
    """Test whether two scores of the same clips have the same AUC.

    Args:
        target: (n,) 1 for fake, 0 for real.
        score_a: (n,) scores of the first system, on any scale.
        score_b: (n,) scores of the second system, on any scale.
    """
    is_fake, score_a = as_target_and_score(target, score_a)
    _, score_b = as_target_and_score(target, score_b)
    n = len(is_fake)
    n_fake = int(is_fake.sum())
    if min(n_fake, n - n_fake) < 2:
        reason = missing_class(n - n_fake, n_fake) or "fewer than 2 clips of a class"
        return DeLongTest(None, None, None, None, None, None, n, f"{reason} scored by both")
    placed_a, placed_b = _placements(is_fake, score_a), _placements(is_fake, score_b)
    auc_a, auc_b = float(placed_a[is_fake].mean()), float(placed_b[is_fake].mean())
    # Computed from the differences: no cancellation, and exactly zero if both scores order the clips alike.
    gap = placed_a - placed_b
    delta = float(gap[is_fake].mean())
    variance = gap[is_fake].var(ddof=1) / n_fake + gap[~is_fake].var(ddof=1) / (n - n_fake)
    if variance < ROUNDING:
        if abs(delta) < ROUNDING:
            return DeLongTest(auc_a, auc_b, 0.0, 0.0, 0.0, 1.0, n)
        return DeLongTest(auc_a, auc_b, delta, None, None, None, n, "the variance of the difference is zero")
    error = float(np.sqrt(variance))
    p = float(2 * ndtr(-abs(delta) / error))
    return DeLongTest(auc_a, auc_b, delta, delta - Z_95 * error, delta + Z_95 * error, p, n)


def compare(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    """Test the difference between the AUCs of two predictions tables on the clips that both scored.

    Args:
        first: Predictions with targets, as returned by ``read_predictions``, ``join_labels`` or ``lend_labels``.
        second: Predictions of the other system.

    Returns:
        ``delta`` (AUC of the first minus AUC of the second), ``low``, ``high``, ``p``, ``auc_a``, ``auc_b``, ``n``
        (clips scored by both), ``n_one_only`` (labelled clips scored by only one) and ``reason``, which says why a
        figure is ``None``.

    Raises:
        UsageError: The tables give a clip different targets, or contain a value outside its range.
    """
    a, b = evaluated_clips(first, None), evaluated_clips(second, None)
    shared = pair(a.table, b.table)
    rows_a, rows_b = shared["a"].to_numpy(), shared["b"].to_numpy()
    both = a.scored[rows_a] & b.scored[rows_b]
    rows_a, rows_b = rows_a[both], rows_b[both]
    test = delong_test(a.is_fake[rows_a], a.ranking[rows_a], b.ranking[rows_b])
    figures = test._asdict() | {"n_one_only": int(a.scored.sum() + b.scored.sum()) - 2 * int(both.sum())}
    without_targets = a.no_targets or b.no_targets
    if without_targets:
        figures |= dict.fromkeys(("auc_a", "auc_b", "delta", "low", "high", "p"), None) | {"reason": without_targets}
    return figures


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple testing (Holm, 1979).

    Args:
        p_values: (k,) p-values of k tests.

    Returns:
        (k,) corrected p-values in the same order.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


def _placements(is_fake: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return for each clip the share of the other class that it is ordered correctly against; ties count one half."""
    from scipy.stats import rankdata  # imported here: 60 MB that scoring does not need

    overall = rankdata(score)
    placed = np.empty(len(score))
    placed[is_fake] = (overall[is_fake] - rankdata(score[is_fake])) / (~is_fake).sum()
    placed[~is_fake] = 1 - (overall[~is_fake] - rankdata(score[~is_fake])) / is_fake.sum()
    return placed
