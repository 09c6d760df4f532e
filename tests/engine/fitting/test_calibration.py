"""Calibration of an expert uses the ranking within sources; differences between sources have no effect."""

from __future__ import annotations

import numpy as np
import pytest

from engine.fitting.calibration import bias_for, evidence_of, fit_slope_and_bias, pairs_within

BOUND = 4.0


def clips(seed=0, *, shift_within=1.5, shift_of_source=0.0, n=30):
    """Return two sources of n real and n fake clips; fakes score higher, and the second source is shifted."""
    rng = np.random.default_rng(seed)
    target = np.tile(np.repeat([0.0, 1.0], n), 2)
    groups = np.repeat(["a", "b"], 2 * n)
    raw = rng.normal(size=4 * n) + shift_within * target + shift_of_source * (groups == "b")
    return raw, target, groups


def test_likelihood_ratios_of_real_clips_are_one_on_average():
    real = np.random.default_rng(1).normal(3, 2, 200)
    assert np.exp(0.7 * real + bias_for(real, 0.7)).mean() == pytest.approx(1.0)


def test_the_slope_grows_with_the_separation_within_sources():
    weak = fit_slope_and_bias(*clips(shift_within=0.5), BOUND)
    strong = fit_slope_and_bias(*clips(shift_within=2.0), BOUND)
    assert 0 < weak[0] < strong[0]


def test_difference_between_sources_does_not_set_the_slope_to_zero():
    raw, target, groups = clips(shift_of_source=-8.0)
    target[groups == "b"] = 1.0
    raw = np.concatenate([raw, raw - 8.0])
    target, groups = np.concatenate([target, clips()[1]]), np.concatenate([groups, np.repeat(["c", "d"], 60)])
    assert fit_slope_and_bias(raw, target, groups, BOUND)[0] > 0


def test_expert_that_ranks_fakes_below_reals_has_slope_zero():
    raw, target, groups = clips()
    slope, bias = fit_slope_and_bias(-raw, target, groups, BOUND)
    assert (slope, bias) == (0.0, 0.0)
    np.testing.assert_allclose(evidence_of(raw, slope, bias, BOUND), 0.0, atol=1e-12)


def test_nan_scores_contribute_zero_and_do_not_change_the_fit():
    raw, target, groups = clips()
    padded = np.concatenate([raw, [np.nan, np.nan]]), np.append(target, [0, 1]), np.append(groups, ["a", "b"])
    assert fit_slope_and_bias(*padded, BOUND) == fit_slope_and_bias(raw, target, groups, BOUND)
    assert evidence_of(np.array([np.nan, 1.0]), 1.0, 0.0, BOUND)[0] == 0.0


def test_one_class_alone_cannot_be_calibrated():
    raw, _, groups = clips()
    assert fit_slope_and_bias(raw, np.zeros(len(raw)), groups, BOUND) == (0.0, 0.0)


def test_groups_of_one_class_give_no_pairs():
    pairs = pairs_within(np.array([True, False, True]), np.array(["a", "a", "b"]))
    assert len(pairs) == 1 and [part.ravel().tolist() for part in pairs[0]] == [[0], [1]]
