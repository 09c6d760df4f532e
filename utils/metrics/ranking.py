"""Metrics that depend only on the order of the scores: AUC, average precision, EER, TPR at a low FPR, and the curves.

All are computed from the weight of real and fake clips at each distinct score, so ties are handled exactly and
consistently. A clip is called fake if its score is greater than or equal to the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from utils.metrics.estimate import Estimate, as_target_and_score, count_of, missing_class


@dataclass(frozen=True)
class Tally:
    """Weight of real and fake clips at each of the G distinct scores, in ascending order.

    Attributes:
        score: (G,) distinct scores, ascending.
        real: (G,) weight of the real clips at each score (their number if unweighted).
        fake: (G,) weight of the fake clips at each score.
        n_real: Number of real clips.
        n_fake: Number of fake clips.
    """

    score: np.ndarray
    real: np.ndarray
    fake: np.ndarray
    n_real: int
    n_fake: int

    @property
    def missing_class(self) -> str:
        """Reason naming the class without weight; empty if both classes have weight."""
        return missing_class(int(self.real.sum() > 0), int(self.fake.sum() > 0))


@dataclass(frozen=True)
class RocCurve:
    """Points of the receiver operating characteristic, from the strictest threshold to the loosest.

    Attributes:
        fpr: (P,) share of the reals called fake, ascending from 0 to 1.
        tpr: (P,) share of the fakes called fake, ascending from 0 to 1.
        threshold: (P,) score at or above which a clip is called fake; the first is infinite.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    threshold: np.ndarray


@dataclass(frozen=True)
class DetCurve:
    """Points of the detection error trade-off, from the strictest threshold to the loosest.

    Attributes:
        fpr: (P,) share of the reals called fake, ascending.
        fnr: (P,) share of the fakes called real, descending.
        threshold: (P,) score at or above which a clip is called fake; the first is infinite.
    """

    fpr: np.ndarray
    fnr: np.ndarray
    threshold: np.ndarray


def tally(target: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> Tally:
    """Sum the weight of the real and fake clips at each distinct score.

    Args:
        target: (n,) 1 for fake, 0 for real.
        score: (n,) higher means more likely fake.
        weight: (n,) non-negative clip weights; 1 for every clip by default.

    Raises:
        ValueError: The arrays differ in length or contain values outside their range.
    """
    is_fake, score = as_target_and_score(target, score)
    if weight is None:
        weight = np.ones(len(score))
    else:
        weight = np.asarray(weight, dtype=np.float64)
        if weight.shape != score.shape or not np.all(np.isfinite(weight) & (weight >= 0)):
            raise ValueError("weight must be one finite, non-negative number per clip")
    distinct, position = np.unique(score, return_inverse=True)
    return Tally(
        score=distinct,
        real=np.bincount(position, np.where(is_fake, 0.0, weight), minlength=len(distinct)),
        fake=np.bincount(position, np.where(is_fake, weight, 0.0), minlength=len(distinct)),
        n_real=int((~is_fake).sum()),
        n_fake=int(is_fake.sum()),
    )


def roc_auc(target: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> Estimate:
    """Compute the area under the ROC curve: the probability that a fake scores above a real; ties count one half."""
    counts = tally(target, score, weight)
    if counts.missing_class:
        return Estimate(None, counts.missing_class)
    real_below = np.cumsum(counts.real) - 0.5 * counts.real
    return Estimate(float(counts.fake @ real_below / (counts.fake.sum() * counts.real.sum())))


def average_precision(target: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> Estimate:
    """Compute the average precision: the precision at each distinct threshold, weighted by the gain in recall."""
    counts = tally(target, score, weight)
    if counts.missing_class:
        return Estimate(None, counts.missing_class)
    fake = counts.fake[::-1]
    called_fake = np.cumsum(fake + counts.real[::-1])
    gained = fake > 0
    precision = np.cumsum(fake)[gained] / called_fake[gained]
    return Estimate(float(precision @ fake[gained] / fake.sum()))


def roc_curve(target: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> RocCurve | None:
    """Compute the points of the ROC curve, or return ``None`` if a class is missing.

    Points inside a horizontal or vertical segment are omitted. This changes neither the drawn line nor the best TPR
    attainable within an FPR limit.
    """
    counts = tally(target, score, weight)
    if counts.missing_class:
        return None
    real, fake = counts.real[::-1], counts.fake[::-1]
    runs_on = ((real[:-1] == 0) & (real[1:] == 0)) | ((fake[:-1] == 0) & (fake[1:] == 0))
    keep = np.concatenate([[True], ~runs_on, [True]])
    fpr = np.concatenate([[0.0], np.cumsum(real) / real.sum()])
    tpr = np.concatenate([[0.0], np.cumsum(fake) / fake.sum()])
    threshold = np.concatenate([[np.inf], counts.score[::-1]])
    fpr[-1] = tpr[-1] = 1.0
    return RocCurve(fpr=fpr[keep], tpr=tpr[keep], threshold=threshold[keep])


def det_curve(target: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> DetCurve | None:
    """Compute the detection error trade-off curve (Martin et al., 1997), or return ``None`` if a class is missing."""
    curve = roc_curve(target, score, weight)
    return None if curve is None else DetCurve(fpr=curve.fpr, fnr=1.0 - curve.tpr, threshold=curve.threshold)


def equal_error_rate(target: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> Estimate:
    """Compute the rate at which FPR and FNR are equal, on the linearly interpolated ROC curve."""
    counts = tally(target, score, weight)
    curve = roc_curve(target, score, weight)
    if curve is None:
        return Estimate(None, counts.missing_class)
    # fpr + tpr is non-decreasing along the curve; where it equals 1, both error rates are equal.
    return Estimate(float(np.interp(1.0, curve.fpr + curve.tpr, curve.fpr)))


def tpr_at_fpr(target: ArrayLike, score: ArrayLike, fpr: float, weight: ArrayLike | None = None) -> Estimate:
    """Compute the highest TPR among thresholds whose false-positive rate is at most ``fpr``.

    Only thresholds at observed scores are used, without interpolation, so the result is attainable.

    Args:
        target: (n,) 1 for fake, 0 for real.
        score: (n,) higher means more likely fake.
        fpr: False-positive rate in (0, 1). With fewer than ``1 / fpr`` reals it cannot be resolved, and the value
            is ``None``.
        weight: (n,) non-negative clip weights.

    Raises:
        ValueError: ``fpr`` is not between 0 and 1.
    """
    counts = tally(target, score, weight)
    curve = roc_curve(target, score, weight)
    if curve is None:
        return Estimate(None, counts.missing_class)
    if not resolves_rate(counts.n_real, fpr):
        return Estimate(None, f"only {count_of(counts.n_real, 'real clip')}")
    return Estimate(float(curve.tpr[curve.fpr <= fpr * (1 + 1e-12)].max()))


def resolves_rate(n: int, rate: float) -> bool:
    """Return whether one error among ``n`` clips is an error rate of at most ``rate``.

    Raises:
        ValueError: ``rate`` is not between 0 and 1.
    """
    if not 0 < rate < 1:
        raise ValueError(f"an error rate must be between 0 and 1, got {rate}")
    return n * rate >= 1 - 1e-9


def balanced_accuracy(target: ArrayLike, called_fake: ArrayLike) -> Estimate:
    """Compute the mean of the share of fakes called fake and the share of reals called real.

    Args:
        target: (n,) 1 for fake, 0 for real.
        called_fake: (n,) 1 if the clip is called fake, 0 if called real, 0.5 for a random decision.
    """
    is_fake, called_fake = as_target_and_score(target, called_fake)
    reason = missing_class(int((~is_fake).sum()), int(is_fake.sum()))
    if reason:
        return Estimate(None, reason)
    return Estimate(float(0.5 * (called_fake[is_fake].mean() + 1.0 - called_fake[~is_fake].mean())))
