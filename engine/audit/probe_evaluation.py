"""Cross-validation of probes: out-of-fold scores and AUCs of small, fixed models."""

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
"""Number of cross-validations with different folds; their scores are averaged."""

RESAMPLES = 1000

# On random-encoder features a fit may stop at the iteration limit, which is accurate enough for a probe.
CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    # Balanced classes: the class ratio of a training fold must not shift the scores of its test fold.
    "logistic": lambda seed: make_pipeline(
        StandardScaler(), LogisticRegression(C=0.3, max_iter=300, class_weight="balanced")
    ),
    # One tree, because a forest doubles the run time of the whole audit.
    "tree": lambda seed: DecisionTreeClassifier(
        max_depth=3, min_samples_leaf=3, class_weight="balanced", random_state=seed
    ),
    "linear_head": lambda seed: make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, max_iter=300, class_weight="balanced")
    ),
}
"""Name -> function from a seed to a model. The hyper-parameters are fixed; nothing is tuned on the audited clips.

Probes of facts use `logistic` and `tree`, probes of encoder features use `linear_head`."""


@dataclass(frozen=True)
class ProbeData:
    """Features and labels that a probe is evaluated on.

    Attributes:
        inputs: Feature matrices (n, F), finite. Scores are averaged over matrices and models.
        target: (n,) int, 1 for fake.
        group: (n,) group of each clip; None if every clip is its own group.
        models: Names of `CLASSIFIERS`.
    """

    inputs: Sequence[np.ndarray]
    target: np.ndarray
    group: np.ndarray | None
    models: tuple[str, ...]

    @property
    def n_units(self) -> tuple[int, int]:
        """Number of independent units (groups, or clips without groups) with real clips, and with fakes."""
        units = np.arange(len(self.target)) if self.group is None else self.group
        return len(np.unique(units[self.target == 0])), len(np.unique(units[self.target == 1]))


def out_of_fold_scores(data: ProbeData, seed: int, *, grouped: bool, repeats: int = REPEATS) -> np.ndarray | None:
    """Compute the mean out-of-fold probability of fake for each clip.

    Folds are stratified by class. With `grouped`, no group is divided between folds.

    Returns:
        (n,) in [0, 1], or `None` if a class has fewer than two units.
    """
    target, group = data.target, data.group if grouped else None
    units = data.n_units if grouped else tuple(np.bincount(target, minlength=2))
    n_folds = min(FOLDS, *units)
    if n_folds < 2:
        return None
    total = np.zeros(len(target))
    for repeat in range(repeats):
        kind = StratifiedKFold if group is None else StratifiedGroupKFold
        folds = kind(n_folds, shuffle=True, random_state=seed + repeat)
        for train, test in folds.split(target, target, group):
            total[test] += _fold_scores(data, train, test, seed + repeat)
    return total / repeats


def _fold_scores(data: ProbeData, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Return the mean probability of fake over inputs and models, or 0.5 if the training clips lack a class."""
    target = data.target[train]
    if target.min() == target.max():
        return np.full(len(test), 0.5)
    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for features in data.inputs:
            for name in data.models:
                model = CLASSIFIERS[name](seed).fit(features[train], target)
                scores.append(model.predict_proba(features[test])[:, 1])
    return np.mean(scores, axis=0)


@dataclass(frozen=True)
class ProbeResult:
    """Out-of-fold AUCs of a probe.

    Attributes:
        grouped: AUC on held-out groups, or on held-out clips if there are no groups.
        random: AUC on a random split, or `None` without groups.
        within: Group -> AUC within it, for held-out groups with both classes.
        within_mean: Unweighted mean of `within`.
    """

    grouped: Interval
    random: Interval | None = None
    within: dict[str, float] = field(default_factory=dict)
    within_mean: Interval = Interval(None)


def evaluate_probe(data: ProbeData, seed: int) -> ProbeResult:
    """Cross-validate a probe by group and on a random split."""
    score = out_of_fold_scores(data, seed, grouped=True)
    if score is None:
        return ProbeResult(Interval(None, reason="a class occurs in fewer than two independent units"))
    target, group = data.target, data.group
    if group is None:
        return ProbeResult(bootstrap_auc(target, score, resamples=RESAMPLES, seed=seed))
    at_random = out_of_fold_scores(data, seed, grouped=False)
    return ProbeResult(
        bootstrap_auc_over_groups(target, score, group, resamples=RESAMPLES, seed=seed),
        None if at_random is None else bootstrap_auc(target, at_random, resamples=RESAMPLES, seed=seed),
        auc_within_sources(target, score, group),
        same_source_auc(target, score, group, resamples=RESAMPLES, seed=seed),
    )
