"""Choice of the score thresholds that determine the verdict on a clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from utils.metrics.estimate import Estimate, as_target_and_score, count_of, missing_class
from utils.metrics.ranking import resolves_rate, roc_curve

DEFAULT_THRESHOLD = 0.5


def threshold_at_fpr(target: ArrayLike, score: ArrayLike, fpr: float, *, must_resolve: bool = True) -> Estimate:
    """Find the lowest threshold with a false-positive rate of at most ``fpr``, midway to the next higher score.

    Args:
        target: (n,) 1 for fake, 0 for real.
        score: (n,) probability of fake in [0, 1].
        fpr: False-positive rate in (0, 1).
        must_resolve: Return no threshold if ``fpr`` is below ``1 / n_real``, since even zero false positives do not
            establish such a rate.

    Raises:
        ValueError: ``fpr`` is not between 0 and 1.
    """
    is_fake, score = as_target_and_score(target, score)
    real = np.sort(score[~is_fake])[::-1]
    resolved = resolves_rate(len(real), fpr)
    if len(real) == 0 or (must_resolve and not resolved):
        return Estimate(None, f"only {count_of(len(real), 'real clip')}")
    highest_passed = real[int(fpr * len(real) + 1e-9)]
    higher = score[score > highest_passed]
    ceiling = higher.min() if len(higher) else 1.0
    if highest_passed >= ceiling:
        return Estimate(None, "too many real clips share the highest score")
    return Estimate(_between(float(highest_passed), float(ceiling)))


def threshold_at_fnr(target: ArrayLike, score: ArrayLike, fnr: float, *, must_resolve: bool = True) -> Estimate:
    """Find the highest threshold with at most a share ``fnr`` of the fakes below it, midway to the next lower score.

    Args:
        target: (n,) 1 for fake, 0 for real.
        score: (n,) probability of fake in [0, 1].
        fnr: False-negative rate in (0, 1).
        must_resolve: Return no threshold if ``fnr`` is below ``1 / n_fake``, since even zero missed fakes do not
            establish such a rate.

    Raises:
        ValueError: ``fnr`` is not between 0 and 1.
    """
    is_fake, score = as_target_and_score(target, score)
    fakes = np.sort(score[is_fake])
    resolved = resolves_rate(len(fakes), fnr)
    if len(fakes) == 0 or (must_resolve and not resolved):
        return Estimate(None, f"only {count_of(len(fakes), 'fake')}")
    lowest_found = fakes[int(fnr * len(fakes) + 1e-9)]
    lower = score[score < lowest_found]
    floor = lower.max() if len(lower) else 0.0
    if lowest_found <= floor:
        return Estimate(None, "too many fakes share the lowest score")
    return Estimate(_between(float(floor), float(lowest_found)))


def best_balanced_threshold(target: ArrayLike, score: ArrayLike) -> Estimate:
    """Find the threshold with the best balanced accuracy.

    It is midway between two neighbouring scores. Among equally good thresholds, the one nearest to 0.5 is chosen.

    Args:
        target: (n,) 1 for fake, 0 for real.
        score: (n,) probability of fake in [0, 1].
    """
    is_fake, score = as_target_and_score(target, score)
    curve = roc_curve(is_fake, score)
    if curve is None:
        return Estimate(None, missing_class(int((~is_fake).sum()), int(is_fake.sum())))
    gain = curve.tpr - curve.fpr
    if gain.max() <= 0:
        return Estimate(None, "no threshold is better than chance")
    lowest_called = curve.threshold[gain >= gain.max() - 1e-12]
    candidates = [_between(float(score[score < called].max()), float(called)) for called in lowest_called]
    return Estimate(min(candidates, key=lambda threshold: abs(threshold - DEFAULT_THRESHOLD)))


def _between(low: float, high: float) -> float:
    """Return a threshold in (low, high]: the midpoint, or ``high`` if no float lies between them."""
    middle = 0.5 * (low + high)
    return middle if middle > low else high
