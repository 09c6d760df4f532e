"""Evaluation of probes: shortcuts are detected, no false findings, and splits share no group."""

from __future__ import annotations

import numpy as np
import pytest

from engine.audit.probe_evaluation import ProbeData, evaluate_probe, out_of_fold_scores

MODELS = ("logistic", "tree")


def grouped_set(n_groups=24, size=4, seed=0):
    """Return single-class groups with features that identify the group but not the class."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), size)
    target = (np.arange(n_groups) % 2)[group]
    features = rng.normal(size=(n_groups, 8))[group] + 0.01 * rng.normal(size=(len(group), 8))
    return ProbeData([features], target, group, MODELS)


def test_group_features_help_only_on_a_random_split():
    held = evaluate_probe(grouped_set(), 0)
    assert held.random.value > 0.9
    assert held.grouped.low < 0.5 and held.grouped.value < 0.7
    assert held.within == {} and held.within_mean.value is None


def test_shortcut_is_found_inside_held_out_groups():
    rng = np.random.default_rng(0)
    group, target = np.repeat(np.arange(20), 2), np.tile([0, 1], 20)
    held = evaluate_probe(ProbeData([target[:, None] + 0.05 * rng.normal(size=(40, 1))], target, group, MODELS), 0)
    assert held.grouped.value == 1.0 and held.within_mean.value == 1.0
    assert len(held.within) == 20


def test_non_monotonic_shortcut_is_found_by_the_tree():
    rng = np.random.default_rng(0)
    fact, target = rng.uniform(-1, 1, 120), np.zeros(120, int)
    target[np.abs(fact) < 0.5] = 1
    assert evaluate_probe(ProbeData([fact[:, None]], target, None, MODELS), 0).grouped.value > 0.9


def test_without_groups_each_clip_is_its_own_unit():
    rng = np.random.default_rng(1)
    evidence = ProbeData([rng.normal(size=(80, 3))], np.arange(80) % 2, None, MODELS)
    held = evaluate_probe(evidence, 0)
    assert held.random is None and evidence.n_units == (40, 40)
    assert held.grouped.low < 0.5 < held.grouped.high


def test_too_few_units_give_a_reason_instead_of_an_auc():
    evidence = ProbeData([np.zeros((6, 1))], np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 2, 3]), MODELS)
    assert out_of_fold_scores(evidence, 0, grouped=True) is None
    held = evaluate_probe(evidence, 0)
    assert held.grouped.value is None and "fewer than two" in held.grouped.reason


@pytest.mark.parametrize("grouped", [True, False])
def test_same_seed_gives_same_scores(grouped):
    evidence = grouped_set(n_groups=8)
    first, second = (out_of_fold_scores(evidence, 3, grouped=grouped) for _ in range(2))
    assert np.array_equal(first, second)
