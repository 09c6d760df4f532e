"""Cross-fitting: scores and verdicts of clips by a calibration that was fitted without them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from utils.metrics.calibration import Calibration, ErrorRates
from utils.metrics.calibration_scale import LEAST_CLIPS_PER_CLASS, fit_scale
from utils.metrics.estimate import as_target_and_score
from utils.metrics.thresholds import best_balanced_threshold, threshold_at_fnr, threshold_at_fpr


@dataclass(frozen=True)
class CrossFit:
    """Out-of-fold scores and decisions of a calibration.

    Attributes:
        score: (n,) probability of fake, or ``None`` if the clips cannot be divided into folds.
        called_fake: (n,) whether the score reaches the fake threshold of its fold, or ``None``.
        called_real: (n,) whether the score is below the real threshold of its fold, or ``None``.
        reason: Why the arrays are ``None``; empty otherwise.
    """

    score: np.ndarray | None
    called_fake: np.ndarray | None
    called_real: np.ndarray | None
    reason: str = ""

    def rates(self, target: ArrayLike) -> ErrorRates | None:
        """Return the error rates on clips with these targets (n,), or ``None`` if there are no decisions."""
        if self.called_fake is None or self.called_real is None:
            return None
        is_fake = np.asarray(target) == 1
        undecided = ~self.called_fake & ~self.called_real
        return ErrorRates(
            false_alarms=float(self.called_fake[~is_fake].mean()),
            missed=float(self.called_real[is_fake].mean()),
            inconclusive_real=float(undecided[~is_fake].mean()),
            inconclusive_fake=float(undecided[is_fake].mean()),
            n_real=int((~is_fake).sum()),
            n_fake=int(is_fake.sum()),
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
    """Score and classify each clip with a calibration and thresholds fitted on the other folds.

    This gives unbiased metrics on the clips that a calibration was fitted on. Folds are stratified by class and do not
    divide groups.

    Args:
        target: (n,) 1 for fake, 0 for real.
        logit: (n,) finite logits.
        like: Calibration whose method, threshold rules and target rates are used in each fold.
        groups: (n,) group of each clip; by default every clip is its own group.
        folds: Maximum number of folds; reduced to the number of clips or groups of the rarer class.
        seed: Seed of the cross-fitting folds.
    """
    is_fake, logit = as_target_and_score(target, logit)
    noun = "clip" if groups is None else "group"
    groups = np.arange(len(logit)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    fewest = min(len(np.unique(groups[~is_fake])), len(np.unique(groups[is_fake])))
    if fewest < LEAST_CLIPS_PER_CLASS:
        return CrossFit(None, None, None, f"cross-fitting needs 2 {noun}s of each class but one class has {fewest}")
    fold_of = assign_folds(is_fake, groups, min(folds, fewest), seed)
    score = np.empty(len(logit))
    called_fake = np.empty(len(logit), dtype=bool)
    called_real = np.empty(len(logit), dtype=bool)
    for fold in np.unique(fold_of):
        test, train = fold_of == fold, fold_of != fold
        scale, _ = fit_scale(is_fake[train], logit[train], like.method)
        score[test] = scale.score(logit[test])
        fake_from, real_below = _thresholds_like(like, is_fake[train], scale.score(logit[train]))
        called_fake[test] = score[test] >= fake_from
        called_real[test] = score[test] < real_below
    return CrossFit(score, called_fake, called_real)


def _thresholds_like(like: Calibration, is_fake: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Choose the fake threshold and the real threshold on these clips with the rules of ``like``."""
    # A fold may have too few clips to resolve a target rate, but a fallback would evaluate a different rule.
    fake_from: float | None = None
    if like.threshold_rule == "target_fpr":
        fake_from = threshold_at_fpr(is_fake, score, like.target_fpr, must_resolve=False).value
    elif like.threshold_rule == "balanced_accuracy":
        fake_from = best_balanced_threshold(is_fake, score).value
    fake_from = like.threshold if fake_from is None else fake_from
    if like.real_threshold is None:
        return fake_from, fake_from
    real_below = threshold_at_fnr(is_fake, score, like.target_fnr, must_resolve=False).value
    return fake_from, min(fake_from, like.real_threshold if real_below is None else real_below)


def assign_folds(is_fake: np.ndarray, group: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Assign whole groups to the folds cyclically, sorted by class content, then by size, with ties in random order."""
    size = np.bincount(group)
    fakes = np.bincount(group, is_fake)
    mix = np.where(fakes == 0, 0, np.where(fakes == size, 1, 2))
    order = np.lexsort((np.random.default_rng(seed).random(len(size)), -size, mix))
    fold_of_group = np.empty(len(size), dtype=np.int64)
    fold_of_group[order] = np.arange(len(size)) % folds
    return fold_of_group[group]
