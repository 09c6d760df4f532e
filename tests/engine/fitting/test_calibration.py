"""Calibration of an expert uses the ranking within sources; differences between sources have no effect."""

from __future__ import annotations

import numpy as np
import pytest

from engine.fitting.calibration import UNUSED, Scale, bias_for, evidence_of, fit_scale, pairs_within

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
    weak = fit_scale(*clips(shift_within=0.5), BOUND)
    strong = fit_scale(*clips(shift_within=2.0), BOUND)
    assert 0 < weak[0] < strong[0]


def test_difference_between_sources_does_not_set_the_slope_to_zero():
    raw, target, groups = clips(shift_of_source=-8.0)
    target[groups == "b"] = 1.0
    raw = np.concatenate([raw, raw - 8.0])
    target, groups = np.concatenate([target, clips()[1]]), np.concatenate([groups, np.repeat(["c", "d"], 60)])
    assert fit_scale(raw, target, groups, BOUND)[0] > 0


def test_expert_that_ranks_fakes_below_reals_has_slope_zero():
    raw, target, groups = clips()
    scale = fit_scale(-raw, target, groups, BOUND)
    assert scale == UNUSED
    np.testing.assert_allclose(evidence_of(raw, scale, BOUND), 0.0, atol=1e-12)


def test_median_evidence_of_real_clips_is_that_of_an_absent_modality():
    raw, target, groups = clips(shift_within=2.0)
    scale = fit_scale(raw, target, groups, BOUND)
    assert np.median(evidence_of(raw[target == 0], scale, BOUND)) == pytest.approx(0.0, abs=1e-9)
    assert np.median(evidence_of(raw[target == 1], scale, BOUND)) > 0.1


def test_nan_scores_contribute_zero_and_do_not_change_the_fit():
    raw, target, groups = clips()
    padded = np.concatenate([raw, [np.nan, np.nan]]), np.append(target, [0, 1]), np.append(groups, ["a", "b"])
    assert fit_scale(*padded, BOUND) == fit_scale(raw, target, groups, BOUND)
    assert evidence_of(np.array([np.nan, 1.0]), Scale(1.0, 0.0), BOUND)[0] == 0.0


def test_one_class_alone_cannot_be_calibrated():
    raw, _, groups = clips()
    assert fit_scale(raw, np.zeros(len(raw)), groups, BOUND) == UNUSED


def test_groups_of_one_class_give_no_pairs():
    pairs = pairs_within(np.array([True, False, True]), np.array(["a", "a", "b"]))
    assert len(pairs) == 1 and [part.ravel().tolist() for part in pairs[0]] == [[0], [1]]
