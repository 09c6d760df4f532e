"""Calibration: conversion of a logit to a probability of fake, and the operating threshold.

The calibration is fitted on validation clips and stored in the checkpoint as plain numbers. It is non-decreasing (the
slope is positive; isotonic steps only create ties), so ranking by logit and by score agree.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from utils.metrics.estimate import Estimate, as_target_and_score
from utils.metrics.thresholds import DEFAULT_THRESHOLD, best_balanced_threshold, threshold_at_fpr

Method = Literal["none", "platt", "isotonic"]
ThresholdRule = Literal["default", "target_fpr", "balanced_accuracy"]

DEFAULT_TARGET_FPR = 0.01
# With fewer clips, isotonic steps are so coarse that most scores tie (Niculescu-Mizil and Caruana, 2005).
ISOTONIC_LEAST_CLIPS = 1000
LEAST_CLIPS_PER_CLASS = 2


@dataclass(frozen=True)
class Calibration:
    """Conversion of a logit to a score, and the score at which a clip is called fake.

    Attributes:
        method: ``platt``: ``score = sigmoid(slope * logit + bias)``; ``isotonic``: linear interpolation
            between the knots of ``isotonic``; ``none``: ``score = sigmoid(logit)``.
        slope: Inverse temperature, greater than 0.
        bias: Added after scaling, in logit units.
        threshold: Score in [0, 1] at or above which a clip is called fake.
        threshold_rule: Whether the threshold was set at ``target_fpr``, at the best balanced accuracy, or by default.
        target_fpr: Requested false-positive rate, whether or not the number of reals could resolve it.
        fitted_on: Name of the split that the calibration was fitted on.
        n: Number of clips it was fitted on.
        reason: Why the method or the threshold rule differs from the requested one; empty if neither does.
        isotonic: Logits and scores of the knots, both ascending; ``None`` unless ``method`` is
            ``isotonic``.
    """

    method: Method = "none"
    slope: float = 1.0
    bias: float = 0.0
    threshold: float = DEFAULT_THRESHOLD
    threshold_rule: ThresholdRule = "default"
    target_fpr: float = DEFAULT_TARGET_FPR
    fitted_on: str = ""
    n: int = 0
    reason: str = ""
    isotonic: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def __post_init__(self) -> None:
        """Reject a slope that would reverse the order of the clips, and an isotonic method without knots."""
        if not (np.isfinite(self.slope) and self.slope > 0):
            raise ValueError(f"the slope of a calibration must be a positive number, got {self.slope}")
        if (self.method == "isotonic") != (self.isotonic is not None):
            raise ValueError("an isotonic calibration needs knots; other methods must not have any")

    @property
    def is_fitted(self) -> bool:
        """Whether the scores or the threshold depend on the clips of ``fitted_on``."""
        return self.method != "none" or self.threshold_rule != "default"

    def score(self, logit: ArrayLike) -> np.ndarray:
        """Return the probability of fake in [0, 1] for logits of any shape."""
        logit = np.asarray(logit, dtype=np.float64)
        if self.isotonic is not None:
            return np.interp(logit, *self.isotonic)
        return expit(self.slope * logit + self.bias)

    def is_fake(self, score: ArrayLike) -> np.ndarray:
        """Return whether scores of any shape reach the operating threshold."""
        return np.asarray(score, dtype=np.float64) >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists, suitable for JSON and for checkpoints loaded with ``weights_only``."""
        plain = asdict(self)
        plain["isotonic"] = None if self.isotonic is None else [list(knots) for knots in self.isotonic]
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Calibration:
        """Rebuild a calibration from the output of ``to_dict``.

        Raises:
            ValueError: A key is unknown, or a value is out of range.
        """
        unknown = set(plain) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"a calibration has no field {sorted(unknown)[0]!r}")
        knots = plain.get("isotonic")
        return cls(**{**plain, "isotonic": None if knots is None else tuple(tuple(axis) for axis in knots)})


@dataclass(frozen=True)
class CrossFit:
    """Out-of-fold scores and decisions of a calibration.

    Attributes:
        score: (n,) probability of fake, or ``None`` if the clips cannot be divided into folds.
        called_fake: (n,) whether the score reaches the threshold of its fold, or ``None``.
        reason: Why the arrays are ``None``; empty otherwise.
    """

    score: np.ndarray | None
    called_fake: np.ndarray | None
    reason: str = ""


def fit_calibration(
    target: ArrayLike,
    logit: ArrayLike,
    *,
    fitted_on: str,
    target_fpr: float = DEFAULT_TARGET_FPR,
    method: Method = "platt",
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> Calibration:
    """Fit a calibration and an operating threshold on validation clips.

    The threshold is set at ``target_fpr`` if there are enough reals to resolve that rate, otherwise at the best balanced
    accuracy on cross-fitted scores, otherwise at 0.5. ``reason`` records each fallback.

    Args:
        target: (n,) 1 for fake, 0 for real.
        logit: (n,) finite logits, higher means more likely fake.
        fitted_on: Name of the split, stored in the result.
        target_fpr: False-positive rate in (0, 1) to allow.
        method: ``platt`` (temperature and bias), ``isotonic`` (``platt`` for fewer than 1,000 clips) or ``none``.
        groups: (n,) groups that cross-fitting must not divide between folds.
        seed: Seed of the cross-fitting folds.

    Raises:
        ValueError: An array or ``target_fpr`` is out of range.
    """
    is_fake, logit = as_target_and_score(target, logit)
    scale, scale_reason = _fit_scale(is_fake, logit, method)
    threshold, rule, threshold_reason = _choose_threshold(is_fake, logit, scale, target_fpr, groups, seed)
    return replace(
        scale,
        threshold=threshold,
        threshold_rule=rule,
        target_fpr=target_fpr,
        fitted_on=fitted_on,
        n=len(logit),
        reason="; ".join(filter(None, (scale_reason, threshold_reason))),
    )


def cross_fit(
    target: ArrayLike,
    logit: ArrayLike,
    *,
    like: Calibration,
    groups: ArrayLike | None = None,
    folds: int = 5,
    seed: int = 0,
) -> CrossFit:
    """Score and classify each clip with a calibration and a threshold fitted on the other folds.

    This gives unbiased metrics on the clips that a calibration was fitted on. Folds are stratified by class and do not
    divide groups.

    Args:
        target: (n,) 1 for fake, 0 for real.
        logit: (n,) finite logits.
        like: Calibration whose method, threshold rule and false-positive rate are used in each fold.
        groups: (n,) group of each clip; by default every clip is its own group.
        folds: Maximum number of folds; reduced to the number of clips or groups of the rarer class.
        seed: Seed of the cross-fitting folds.
    """
    is_fake, logit = as_target_and_score(target, logit)
    noun = "clip" if groups is None else "group"
    groups = np.arange(len(logit)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    fewest = min(len(np.unique(groups[~is_fake])), len(np.unique(groups[is_fake])))
    if fewest < LEAST_CLIPS_PER_CLASS:
        return CrossFit(None, None, f"cross-fitting needs 2 {noun}s of each class, one class has {fewest}")
    fold_of = assign_folds(is_fake, groups, min(folds, fewest), seed)
    score = np.empty(len(logit))
    called_fake = np.empty(len(logit), dtype=bool)
    for fold in np.unique(fold_of):
        test, train = fold_of == fold, fold_of != fold
        scale, _ = _fit_scale(is_fake[train], logit[train], like.method)
        score[test] = scale.score(logit[test])
        called_fake[test] = score[test] >= _threshold_like(like, is_fake[train], scale.score(logit[train]))
    return CrossFit(score, called_fake)


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


def _threshold_like(like: Calibration, is_fake: np.ndarray, score: np.ndarray) -> float:
    """Choose a threshold on these clips with the threshold rule of ``like``."""
    chosen = Estimate(None)
    if like.threshold_rule == "target_fpr":
        # A fold may have too few reals to resolve the rate, but a fallback would evaluate a different rule.
        chosen = threshold_at_fpr(is_fake, score, like.target_fpr, must_resolve=False)
    elif like.threshold_rule == "balanced_accuracy":
        chosen = best_balanced_threshold(is_fake, score)
    return like.threshold if chosen.value is None else chosen.value


def _fit_scale(is_fake: np.ndarray, logit: np.ndarray, method: Method) -> tuple[Calibration, str]:
    """Fit the conversion from logit to score; also return why the requested method was not used, if so."""
    if method == "none":
        return Calibration(), ""
    n_fake = int(is_fake.sum())
    fewest = min(n_fake, len(is_fake) - n_fake)
    if fewest < LEAST_CLIPS_PER_CLASS:
        return Calibration(), f"not calibrated: one class has fewer than {LEAST_CLIPS_PER_CLASS} clips"
    if not np.isfinite(logit).all():
        raise ValueError("a logit is infinite; a calibration is fitted on finite logits")
    if logit[is_fake].mean() <= logit[~is_fake].mean():
        return Calibration(), "not calibrated: the fakes do not have the higher mean logit"
    if method == "isotonic" and len(logit) >= ISOTONIC_LEAST_CLIPS:
        # Imported here: 60 MB that scoring, which only applies a calibration, does not need.
        from sklearn.isotonic import IsotonicRegression

        fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(logit, is_fake)
        knots = (tuple(fit.X_thresholds_.tolist()), tuple(fit.y_thresholds_.tolist()))
        return Calibration(method="isotonic", isotonic=knots), ""
    slope, bias = fit_platt(is_fake, logit)
    too_few = f"isotonic needs {ISOTONIC_LEAST_CLIPS} clips, there are {len(logit)}; using temperature and bias instead"
    return Calibration(method="platt", slope=slope, bias=bias), too_few if method == "isotonic" else ""


def fit_platt(target: ArrayLike, logit: ArrayLike) -> tuple[float, float]:
    """Fit slope and bias of ``sigmoid(slope * logit + bias)`` by maximum likelihood (Platt, 1999).

    As Platt proposes, the targets are smoothed to ``(n_fake + 1) / (n_fake + 2)`` and ``1 / (n_real + 2)``, so the fit
    is finite for separated classes. The slope is positive if and only if the fakes have the higher mean logit.

    Args:
        target: (n,) 1 for fake, 0 for real.
        logit: (n,) finite logits that are not all equal.
    """
    is_fake, logit = as_target_and_score(target, logit)
    n_fake = is_fake.sum()
    n_real = len(is_fake) - n_fake
    smoothed = np.where(is_fake, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))
    centre, spread = logit.mean(), logit.std()
    design = np.stack([(logit - centre) / spread, np.ones(len(logit))], axis=1)

    def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = design @ weights
        return float(np.mean(np.logaddexp(0, z) - smoothed * z)), design.T @ (expit(z) - smoothed) / len(z)

    def hessian(weights: np.ndarray) -> np.ndarray:
        p = expit(design @ weights)
        return (design.T * (p * (1 - p))) @ design / len(p)

    from scipy.optimize import minimize  # imported here for the same reason

    options = {"gtol": 1e-10}
    fit = minimize(loss_and_gradient, np.zeros(2), jac=True, hess=hessian, method="trust-exact", options=options)
    slope = fit.x[0] / spread
    return float(slope), float(fit.x[1] - slope * centre)


def assign_folds(is_fake: np.ndarray, group: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Deal whole groups to the folds in turn, sorted by class content, then by size, with ties in random order."""
    size = np.bincount(group)
    fakes = np.bincount(group, is_fake)
    mix = np.where(fakes == 0, 0, np.where(fakes == size, 1, 2))
    order = np.lexsort((np.random.default_rng(seed).random(len(size)), -size, mix))
    fold_of_group = np.empty(len(size), dtype=np.int64)
    fold_of_group[order] = np.arange(len(size)) % folds
    return fold_of_group[group]
