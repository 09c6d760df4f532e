"""Scores for clips by models that have not seen them: out of fold, by group or at random, with fixed small models."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from utils.metrics import Interval, bootstrap_auc, bootstrap_auc_over_groups, same_source_auc
from utils.metrics.intervals import auc_within_sources

FOLDS = 5
REPEATS = 2
"""Cross-validations with different folds whose scores are averaged, so that no one partition decides."""

RESAMPLES = 1000

# A fit may end at the iteration limit on features of a random encoder; the probe's answer does not hang on the last digit.
CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    # Balanced classes: a training fold that holds more fakes than the test fold must not shift the scores against it.
    "logistic": lambda seed: make_pipeline(
        StandardScaler(), LogisticRegression(C=0.3, max_iter=300, class_weight="balanced")
    ),
    # One tree, not a forest: a forest doubles the time of the whole audit.
    "tree": lambda seed: DecisionTreeClassifier(
        max_depth=3, min_samples_leaf=3, class_weight="balanced", random_state=seed
    ),
    "linear_head": lambda seed: make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, max_iter=300, class_weight="balanced")
    ),
}
"""The models. Their hyper-parameters are fixed: nothing is tuned on the clips that are judged.

Facts get `logistic` and `tree`, encoders `linear_head`."""


@dataclass(frozen=True)
class Evidence:
    """What a probe is given.

    Attributes:
        inputs: feature matrices (n, F), finite; the scores that models make of each are averaged.
        target: (n,) int, 1 for fake.
        group: (n,) which clips belong together; None when every clip stands for itself.
        models: names of `CLASSIFIERS`, whose probabilities are averaged.
    """

    inputs: Sequence[np.ndarray]
    target: np.ndarray
    group: np.ndarray | None
    models: tuple[str, ...]

    @property
    def n_units(self) -> tuple[int, int]:
        """Independent units (groups, else clips) that hold reals, and that hold fakes."""
        units = np.arange(len(self.target)) if self.group is None else self.group
        return len(np.unique(units[self.target == 0])), len(np.unique(units[self.target == 1]))


def held_out_scores(evidence: Evidence, seed: int, *, grouped: bool, repeats: int = REPEATS) -> np.ndarray | None:
    """Mean out-of-fold probability of fake for each clip.

    Folds are stratified by class; with `grouped` no group lies in two folds.

    Returns:
        (n,) in [0, 1], or `None` when a class has fewer than two units, so that none can be held out.
    """
    target, group = evidence.target, evidence.group if grouped else None
    units = evidence.n_units if grouped else tuple(np.bincount(target, minlength=2))
    n_folds = min(FOLDS, *units)
    if n_folds < 2:
        return None
    total = np.zeros(len(target))
    for repeat in range(repeats):
        kind = StratifiedKFold if group is None else StratifiedGroupKFold
        folds = kind(n_folds, shuffle=True, random_state=seed + repeat)
        for train, test in folds.split(target, target, group):
            total[test] += _fold_scores(evidence, train, test, seed + repeat)
    return total / repeats


def _fold_scores(evidence: Evidence, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Mean probability of fake over inputs and models; one half where the training part lacks a class."""
    target = evidence.target[train]
    if target.min() == target.max():
        return np.full(len(test), 0.5)
    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for features in evidence.inputs:
            for name in evidence.models:
                model = CLASSIFIERS[name](seed).fit(features[train], target)
                scores.append(model.predict_proba(features[test])[:, 1])
    return np.mean(scores, axis=0)


@dataclass(frozen=True)
class Held:
    """How well a probe does on what it has not seen.

    Attributes:
        grouped: AUC on held-out groups (on held-out clips where there are no groups).
        random: AUC on a random split, or `None` without groups.
        within: group -> AUC inside it, for held-out groups that hold both classes.
        within_mean: mean of `within`, every group weighing the same.
    """

    grouped: Interval
    random: Interval | None = None
    within: dict[str, float] = field(default_factory=dict)
    within_mean: Interval = Interval(None)


def evaluate(evidence: Evidence, seed: int) -> Held:
    """Cross-validate by group and at random."""
    score = held_out_scores(evidence, seed, grouped=True)
    if score is None:
        return Held(Interval(None, reason="fewer than two independent units hold a class"))
    target, group = evidence.target, evidence.group
    if group is None:
        return Held(bootstrap_auc(target, score, resamples=RESAMPLES, seed=seed))
    at_random = held_out_scores(evidence, seed, grouped=False)
    return Held(
        bootstrap_auc_over_groups(target, score, group, resamples=RESAMPLES, seed=seed),
        None if at_random is None else bootstrap_auc(target, at_random, resamples=RESAMPLES, seed=seed),
        auc_within_sources(target, score, group),
        same_source_auc(target, score, group, resamples=RESAMPLES, seed=seed),
    )
