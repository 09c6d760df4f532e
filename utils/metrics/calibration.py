"""Calibration: conversion of a logit to a probability of fake, and the thresholds between the verdicts.

The calibration is fitted on validation clips and stored in the checkpoint as plain numbers. It is non-decreasing (the
slope is positive; isotonic steps only create ties), so ranking by logit and by score agree.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from utils.metrics.thresholds import DEFAULT_THRESHOLD

Method = Literal["none", "platt", "isotonic"]
ThresholdRule = Literal["default", "target_fpr", "balanced_accuracy"]

Verdict = Literal["fake", "inconclusive", "real", "unscored"]

DEFAULT_TARGET_FPR = 0.01
DEFAULT_TARGET_FNR = 0.05

NUMBERS = (int, float, np.integer, np.floating)


@dataclass(frozen=True)
class ErrorRates:
    """Error rates of the verdicts, measured on clips that neither the calibration nor the thresholds were fitted on.

    Attributes:
        false_alarms: Share of the real clips called fake.
        missed: Share of the fakes called real.
        inconclusive_real: Share of the real clips with the verdict inconclusive.
        inconclusive_fake: Share of the fakes with the verdict inconclusive.
        n_real: Number of real clips.
        n_fake: Number of fakes.
        pseudo_fakes: Whether the fakes are pseudo-fakes, because no labelled fake was available.
    """

    false_alarms: float
    missed: float
    inconclusive_real: float
    inconclusive_fake: float
    n_real: int
    n_fake: int
    pseudo_fakes: bool = False

    def __post_init__(self) -> None:
        """Reject shares outside [0, 1] and negative numbers of clips."""
        shares = (self.false_alarms, self.missed, self.inconclusive_real, self.inconclusive_fake)
        require_numbers("an error rate", shares, 0, 1)
        require_numbers("a number of clips", (self.n_real, self.n_fake), 0, sys.float_info.max)


@dataclass(frozen=True)
class Calibration:
    """Conversion of a logit to a score, and of a score to a verdict.

    Attributes:
        method: ``platt``: ``score = sigmoid(slope * logit + bias)``; ``isotonic``: linear interpolation
            between the knots of ``isotonic``; ``none``: ``score = sigmoid(logit)``.
        slope: Inverse temperature, greater than 0.
        bias: Added after scaling, in logit units.
        threshold: Score in [0, 1] at or above which a clip is called fake.
        threshold_rule: Whether the threshold was set at ``target_fpr``, at the best balanced accuracy, or by default.
        target_fpr: Requested false-positive rate, whether or not the number of reals could resolve it.
        real_threshold: Score below which a clip is called real, at most ``threshold``; clips between the two are
            inconclusive. ``None``: every clip below ``threshold`` is called real.
        target_fnr: Requested share of the fakes below ``real_threshold``.
        rates: Error rates of the verdicts, cross-fitted on the clips that the calibration was fitted on; ``None`` if
            they were not measured.
        fitted_on: Name of the split that the calibration was fitted on.
        n: Number of clips it was fitted on.
        reason: Why the method or a threshold rule differs from the requested one; empty if none does.
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
    real_threshold: float | None = None
    target_fnr: float = DEFAULT_TARGET_FNR
    rates: ErrorRates | None = None

    def __post_init__(self) -> None:
        """Reject values of another type, descending or mismatched knots, and thresholds that are no scores or crossed."""
        if self.method not in get_args(Method) or self.threshold_rule not in get_args(ThresholdRule):
            raise ValueError(f"unknown method {self.method!r} or threshold rule {self.threshold_rule!r}")
        require_numbers("a slope or bias", (self.slope, self.bias), -sys.float_info.max, sys.float_info.max)
        if not self.slope > 0:
            raise ValueError(f"the slope of a calibration must be a positive number, got {self.slope}")
        if (self.method == "isotonic") != (self.isotonic is not None):
            raise ValueError("an isotonic calibration needs knots; other methods must not have any")
        if self.isotonic is not None:
            require_knots(*self.isotonic)
        shares = (self.threshold, self.real_threshold, self.target_fpr, self.target_fnr)
        require_numbers("a threshold or rate", (share for share in shares if share is not None), 0, 1)
        require_numbers("a number of clips", (self.n,), 0, sys.float_info.max)
        if not isinstance(self.fitted_on, str) or not isinstance(self.reason, str):
            raise ValueError("the split and the reason of a calibration must be text")
        if self.real_threshold is not None and not self.real_threshold <= self.threshold:
            raise ValueError(
                f"the real threshold {self.real_threshold} is not at or below the fake threshold {self.threshold}"
            )

    @property
    def is_fitted(self) -> bool:
        """Whether the scores or a threshold depend on the clips of ``fitted_on``."""
        return self.method != "none" or self.threshold_rule != "default" or self.real_threshold is not None

    @property
    def thresholds(self) -> dict[str, float]:
        """Thresholds by verdict: ``fake`` at or above, ``real`` below; ``real`` is absent if there is one threshold."""
        real = {} if self.real_threshold is None else {"real": self.real_threshold}
        return {"fake": self.threshold, **real}

    def score(self, logit: ArrayLike) -> np.ndarray:
        """Return the probability of fake in [0, 1] for logits of any shape."""
        logit = np.asarray(logit, dtype=np.float64)
        if self.isotonic is not None:
            return np.interp(logit, *self.isotonic)
        with np.errstate(over="ignore"):  # an infinite product has the score 0 or 1
            return sigmoid(self.slope * logit + self.bias)

    def is_fake(self, score: ArrayLike) -> np.ndarray:
        """Return whether scores of any shape reach the fake threshold."""
        return np.asarray(score, dtype=np.float64) >= self.threshold

    def is_real(self, score: ArrayLike) -> np.ndarray:
        """Return whether scores of any shape are below the real threshold."""
        below = self.threshold if self.real_threshold is None else self.real_threshold
        return np.asarray(score, dtype=np.float64) < below

    def verdict(self, score: float | None) -> Verdict:
        """Return the verdict on a score; ``unscored`` for ``None`` and NaN."""
        if score is None or np.isnan(score):
            return "unscored"
        return "fake" if self.is_fake(score) else "real" if self.is_real(score) else "inconclusive"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, lists and dicts, suitable for JSON and for checkpoints loaded with ``weights_only``."""
        plain = asdict(self)
        plain["isotonic"] = None if self.isotonic is None else [list(knots) for knots in self.isotonic]
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Calibration:
        """Rebuild a calibration from the output of ``to_dict``.

        Raises:
            ValueError: A key is unknown or missing, or a value is out of range.
        """
        unknown = set(plain) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"a calibration has no field {sorted(unknown)[0]!r}")
        knots, rates = plain.get("isotonic"), plain.get("rates")
        parsed = {
            "isotonic": None if knots is None else tuple(tuple(axis) for axis in knots),
            "rates": None if rates is None else ErrorRates(**rates),
        }
        calibration = cls(**{**plain, **parsed})
        missing = sorted({"method", "slope", "bias", "threshold"} - set(plain))
        if missing:
            raise ValueError(f"a calibration needs the field {missing[0]!r}")
        return calibration


def require_numbers(what: str, values: Iterable[Any], low: float, high: float) -> None:
    """Raise a `ValueError` unless all values are numbers from `low` to `high`."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, NUMBERS) or not low <= value <= high:
            raise ValueError(f"{what} of a calibration is {value!r}, which is not a number in [{low:g}, {high:g}]")


def require_knots(logits: tuple[float, ...], scores: tuple[float, ...]) -> None:
    """Raise a `ValueError` unless there are as many logits as scores, and both ascend."""
    require_numbers("the logit of a knot", logits, -np.inf, np.inf)
    require_numbers("the score of a knot", scores, 0, 1)
    ascending = list(logits) == sorted(logits) and list(scores) == sorted(scores)
    if not logits or len(logits) != len(scores) or not ascending:
        raise ValueError("the knots of an isotonic calibration must be pairs of ascending logits and scores")


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow. Scipy's function is not used, since scoring needs no other part of it."""
    with np.errstate(invalid="ignore"):  # NaN, the logit of an unscored clip, stays NaN
        return np.exp(-np.logaddexp(0, -values))
