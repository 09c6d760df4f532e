"""Packed forests: the same scores as scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesClassifier

from engine.fitting.forest import load_trees
from models.experts.forest import PackedForest


def fitted(trees: int = 20) -> tuple[ExtraTreesClassifier, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 12)).astype(np.float32)
    target = (features[:, 0] + features[:, 1] * features[:, 2] + 0.5 * rng.normal(size=300) > 0).astype(int)
    weights = rng.uniform(0.5, 2, 300)
    forest = ExtraTreesClassifier(trees, min_samples_leaf=4, random_state=0).fit(
        features, target, sample_weight=weights
    )
    return forest, np.concatenate([features, rng.normal(size=(200, 12)).astype(np.float32)])


def test_packed_scores_equal_scikit_learns():
    forest, features = fitted()
    packed = PackedForest(3, 12)
    load_trees(packed, forest)
    scores = packed(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(scores, forest.predict_proba(features)[:, 1], atol=1e-6, rtol=0)


def test_a_feature_equal_to_a_threshold_goes_left():
    forest, _ = fitted(5)
    tree = forest.estimators_[0].tree_
    inner = tree.children_left >= 0
    on_thresholds = np.tile(tree.threshold[inner].astype(np.float32)[:, None], (1, 12))
    packed = PackedForest(1, 12)
    load_trees(packed, forest)
    scores = packed(torch.from_numpy(on_thresholds)).numpy()
    np.testing.assert_allclose(scores, forest.predict_proba(on_thresholds)[:, 1], atol=1e-6, rtol=0)


def test_weights_of_any_size_are_loaded():
    forest, features = fitted()
    packed = PackedForest(20, 12)
    load_trees(packed, forest)
    other = PackedForest(20, 12)
    other.load_state_dict(packed.state_dict())
    assert torch.equal(other(torch.from_numpy(features)), packed(torch.from_numpy(features)))
