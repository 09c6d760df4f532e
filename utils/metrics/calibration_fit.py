"""Fit of a calibration and its thresholds on validation clips."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from utils.metrics.calibration import DEFAULT_TARGET_FNR, DEFAULT_TARGET_FPR, Calibration, Method, ThresholdRule
from utils.metrics.calibration_scale import fit_scale
from utils.metrics.cross_fit import cross_fit
from utils.metrics.estimate import Estimate, as_target_and_score
from utils.metrics.thresholds import DEFAULT_THRESHOLD, best_balanced_threshold, threshold_at_fnr, threshold_at_fpr


@dataclass(frozen=True)
class TargetRates:
    """Error rates that the thresholds aim at.

    Attributes:
        fpr: Share of the real clips in (0, 1) that may be called fake.
        fnr: Share of the fakes in (0, 1) that may be called real.
    """

    fpr: float = DEFAULT_TARGET_FPR
    fnr: float = DEFAULT_TARGET_FNR


DEFAULT_RATES = TargetRates()


def fit_calibration(
    target: ArrayLike,
    logit: ArrayLike,
    *,
    fitted_on: str,
    rates: TargetRates = DEFAULT_RATES,
    method: Method = "platt",
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> Calibration:
    """Fit a calibration and its two thresholds on validation clips, and measure their error rates by cross-fitting.

    The fake threshold is set at ``rates.fpr`` if there are enough reals to resolve that rate, otherwise at the best
    balanced accuracy on cross-fitted scores, otherwise at 0.5. The real threshold is set at ``rates.fnr``, and at most at
    the fake threshold; without enough fakes to resolve that rate, there is no real threshold. ``reason`` records each
    fallback.

    Args:
        target: (n,) 1 for fake, 0 for real.
        logit: (n,) finite logits, higher means more likely fake.
        fitted_on: Name of the split, stored in the result.
        rates: Error rates to allow.
        method: ``platt`` (temperature and bias), ``isotonic`` (``platt`` for fewer than 1,000 clips) or ``none``.
        groups: (n,) groups that cross-fitting must not divide between folds.
        seed: Seed of the cross-fitting folds.

    Raises:
        ValueError: An array or a target rate is out of range.
    """
    is_fake, logit = as_target_and_score(target, logit)
    scale, scale_reason = fit_scale(is_fake, logit, method)
    threshold, rule, threshold_reason = _choose_threshold(is_fake, logit, scale, rates.fpr, groups, seed)
    at_fnr = threshold_at_fnr(is_fake, scale.score(logit), rates.fnr)
    one_threshold = ""
    if at_fnr.value is None:
        one_threshold = f"no threshold at a false-negative rate of {rates.fnr:g}: {at_fnr.reason}; using one threshold"
    fitted = replace(
        scale,
        threshold=threshold,
        threshold_rule=rule,
        target_fpr=rates.fpr,
        real_threshold=None if at_fnr.value is None else min(at_fnr.value, threshold),
        target_fnr=rates.fnr,
        fitted_on=fitted_on,
        n=len(logit),
    )
    crossed = cross_fit(is_fake, logit, like=fitted, groups=groups, seed=seed)
    unmeasured = f"error rates not measured: {crossed.reason}" if crossed.reason else ""
    reasons = (scale_reason, threshold_reason, one_threshold, unmeasured)
    return replace(fitted, rates=crossed.rates(is_fake), reason="; ".join(filter(None, reasons)))


def _choose_threshold(
    is_fake: np.ndarray,
    logit: np.ndarray,
    scale: Calibration,
    target_fpr: float,
    groups: ArrayLike | None,
    seed: int,
) -> tuple[float, ThresholdRule, str]:
    """Return a threshold on the scores of ``scale``, the rule that set it, and why a fallback was used, if so."""
    at_fpr = threshold_at_fpr(is_fake, scale.score(logit), target_fpr)
    if at_fpr.value is not None:
        return at_fpr.value, "target_fpr", ""
    fallback = f"no threshold at a false-positive rate of {target_fpr:g}: {at_fpr.reason}"
    crossed = cross_fit(is_fake, logit, like=scale, groups=groups, seed=seed)
    balanced = Estimate(None, crossed.reason)
    if crossed.score is not None:
        balanced = best_balanced_threshold(is_fake, crossed.score)
    if balanced.value is not None:
        return (
            balanced.value,
            "balanced_accuracy",
            f"{fallback}; using the best balanced accuracy on cross-fitted scores instead",
        )
    return DEFAULT_THRESHOLD, "default", f"{fallback}; using {DEFAULT_THRESHOLD}: {balanced.reason}"
