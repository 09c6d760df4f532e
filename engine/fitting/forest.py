"""Growing of the voice expert's forests with scikit-learn, and their conversion to plain tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesClassifier

from models.experts.forest import LEAF, PackedForest

LEAST_EXAMPLES_PER_LEAF = 4


def fit_forest(
    forest: PackedForest, features: np.ndarray, is_fake: np.ndarray, weights: np.ndarray, *, trees: int, seed: int
) -> None:
    """Grow extremely randomised trees (Geurts et al., 2006).

    Args:
        forest: receives the trees.
        features: (N, D) float32.
        is_fake: (N,) 0 or 1; both must occur.
        weights: (N,) sample weights.
        trees: number of trees.
        seed: the same examples and seed give the same trees.
    """
    grown = ExtraTreesClassifier(trees, min_samples_leaf=LEAST_EXAMPLES_PER_LEAF, random_state=seed, n_jobs=1)
    grown.fit(features, is_fake, sample_weight=weights)
    load_trees(forest, grown)


def load_trees(forest: PackedForest, grown: ExtraTreesClassifier) -> None:
    """Copy a fitted scikit-learn forest with two classes, of which the second is fake.

    Raises:
        ValueError: a tree is not in depth-first order, or too large to be packed.
    """
    trees = [estimator.tree_ for estimator in grown.estimators_]
    packed = [pack_tree(tree) for tree in trees]
    counts = [tree.node_count for tree in trees]
    forest.first = torch.from_numpy(np.cumsum([0, *counts[:-1]]).astype(np.int32))
    forest.column, forest.value, forest.skip = (
        torch.from_numpy(np.concatenate(part)) for part in zip(*packed, strict=True)
    )


def pack_tree(tree: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `column`, `value` and `skip` of a scikit-learn tree, see `PackedForest`.

    Raises:
        ValueError: the tree is not in depth-first order, or too large.
    """
    number = np.arange(tree.node_count)
    leaf = tree.children_left < 0
    skip = np.where(leaf, 0, tree.children_right - number)
    if (tree.children_left[~leaf] != number[~leaf] + 1).any() or skip.max() > np.iinfo(np.int16).max:
        raise ValueError("the tree is too large, or its nodes are not in depth-first order")
    # scikit-learn compares float32 features with float64 thresholds: rounding the thresholds down keeps every comparison.
    threshold = tree.threshold.astype(np.float32)
    threshold = np.where(threshold > tree.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    shares = tree.value[:, 0, 1] / tree.value[:, 0, :].sum(axis=1)
    value = np.where(leaf, shares, threshold).astype(np.float32)
    return np.where(leaf, LEAF, tree.feature).astype(np.int8), value, skip.astype(np.int16)
