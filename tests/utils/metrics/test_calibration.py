"""Calibration compared with scikit-learn, thresholds with their definition, and cross-fitting without leakage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from utils.metrics.calibration import Calibration
from utils.metrics.calibration_fit import TargetRates, fit_calibration
from utils.metrics.calibration_scale import fit_platt
from utils.metrics.cross_fit import assign_folds, cross_fit
from utils.metrics.ranking import roc_auc
from utils.metrics.reliability import expected_calibration_error
from utils.metrics.thresholds import best_balanced_threshold, threshold_at_fpr


def draw(seed: int, n: int, shift: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.permutation(np.arange(n) % 2)
    return target, 5 * (rng.normal(size=n) + shift * target) - 3


@pytest.mark.parametrize("n", [6, 40, 3000])
def test_platt_equals_unpenalised_logistic_regression_on_smoothed_targets(n: int) -> None:
    target, logit = draw(n, n)
    n_fake, n_real = target.sum(), n - target.sum()
    share = np.where(target == 1, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))
    oracle = LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000).fit(
        np.tile(logit, 2)[:, None], np.repeat([1, 0], n), sample_weight=np.concatenate([share, 1 - share])
    )
    slope, bias = fit_platt(target, logit)
    assert slope == pytest.approx(oracle.coef_[0, 0], rel=1e-4)
    assert bias == pytest.approx(oracle.intercept_[0], rel=1e-4, abs=1e-4)


def test_platt_recovers_known_parameters() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(scale=4, size=50_000)
    target = (rng.random(50_000) < expit(0.5 * logit - 1)).astype(int)
    assert fit_platt(target, logit) == pytest.approx((0.5, -1.0), abs=0.04)


def test_platt_is_finite_for_separated_and_huge_logits() -> None:
    slope, bias = fit_platt([0, 0, 1, 1], [-1.0, -2.0, 1.0, 2.0])
    assert 0 < slope < 10
    assert abs(bias) < 1e-6
    assert np.isfinite(fit_platt([0, 0, 1, 1], [-1e8, 1e7, 2e7, 1e8])).all()


def test_calibration_reduces_calibration_error_and_keeps_the_ranking() -> None:
    target, logit = draw(1, 4000)
    calibration = fit_calibration(target, logit, fitted_on="valset")
    fresh_target, fresh_logit = draw(2, 4000)
    before = expected_calibration_error(fresh_target, expit(fresh_logit)).value
    after = expected_calibration_error(fresh_target, calibration.score(fresh_logit)).value
    assert after < 0.03 < before
    assert roc_auc(fresh_target, calibration.score(fresh_logit)) == roc_auc(fresh_target, fresh_logit)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(-50, 50)), min_size=1, max_size=40),
    st.sampled_from(["none", "platt", "isotonic"]),
)
def test_calibrated_score_is_non_decreasing_in_the_logit(rows: list[tuple[int, float]], method: str) -> None:
    target, logit = (np.array(column) for column in zip(*rows, strict=True))
    calibration = fit_calibration(target, logit, fitted_on="valset", method=method)
    score = calibration.score(np.sort(logit))
    assert np.all(np.diff(score) >= 0)
    assert score.min() >= 0
    assert score.max() <= 1
    assert calibration.slope > 0
    assert np.isfinite(calibration.threshold)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


def test_isotonic_needs_a_thousand_clips() -> None:
    target, logit = draw(3, 999)
    small = fit_calibration(target, logit, fitted_on="valset", method="isotonic")
    assert small.method == "platt"
    assert "isotonic needs 1000 clips but there are 999" in small.reason
    target, logit = draw(3, 1000)
    large = fit_calibration(target, logit, fitted_on="valset", method="isotonic")
    oracle = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(logit, target)
    probes = np.linspace(logit.min() - 5, logit.max() + 5, 1001)
    assert large.method == "isotonic"
    assert large.reason == ""
    np.testing.assert_allclose(large.score(probes), oracle.predict(probes), atol=1e-9)
    assert Calibration.from_dict(json.loads(json.dumps(large.to_dict()))) == large


def test_default_calibration_is_the_sigmoid_with_threshold_one_half() -> None:
    calibration = Calibration()
    np.testing.assert_allclose(calibration.score([[-1.0, 0.0, 800.0]]), expit([[-1.0, 0.0, 800.0]]))
    assert calibration.is_fake([0.49, 0.5, 0.51]).tolist() == [False, True, True]
    assert not calibration.is_fitted


@pytest.mark.parametrize(
    ("target", "logit", "reason"),
    [
        ([0, 1], [0.0, 1.0], "not calibrated: one class has fewer than 2 clips"),
        ([0, 0, 1, 1], [2.0, 1.0, 0.0, -1.0], "not calibrated: the fakes do not have the higher mean logit"),
        ([0, 0, 1, 1], [1.0, 1.0, 1.0, 1.0], "not calibrated: the fakes do not have the higher mean logit"),
        ([], [], "not calibrated: one class has fewer than 2 clips"),
    ],
)
def test_failed_fit_falls_back_to_the_sigmoid_with_a_reason(target, logit, reason: str) -> None:
    calibration = fit_calibration(target, logit, fitted_on="valset")
    assert (calibration.method, calibration.slope, calibration.bias) == ("none", 1.0, 0.0)
    assert calibration.reason.startswith(reason)


def test_threshold_meets_a_resolvable_false_positive_rate() -> None:
    target, logit = draw(4, 2000)
    calibration = fit_calibration(target, logit, fitted_on="valset", rates=TargetRates(fpr=0.01))
    called = calibration.is_fake(calibration.score(logit))
    assert (calibration.threshold_rule, calibration.n, calibration.fitted_on) == ("target_fpr", 2000, "valset")
    assert called[target == 0].sum() == 10
    assert calibration.reason == ""


def test_threshold_falls_back_to_balanced_accuracy_with_a_reason() -> None:
    target, logit = draw(5, 60)
    calibration = fit_calibration(target, logit, fitted_on="valset", rates=TargetRates(fpr=0.01))
    assert calibration.threshold_rule == "balanced_accuracy"
    assert "false-positive rate of 0.01: only 30 real clips" in calibration.reason
    crossed = cross_fit(target, logit, like=Calibration(method="platt"))
    assert calibration.threshold == best_balanced_threshold(target, crossed.score).value


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.1, 0.37])
@pytest.mark.parametrize("levels", [None, 20])
def test_threshold_at_fpr_is_the_lowest_that_meets_the_rate(fpr: float, levels: int | None) -> None:
    target, logit = draw(6, 600)
    score = expit(logit / 8) if levels is None else np.round(expit(logit / 8) * levels) / levels
    real = score[target == 0]
    threshold = threshold_at_fpr(target, score, fpr).value
    assert np.mean(real >= threshold) <= fpr
    next_lower = score[score < threshold].max()
    assert np.mean(real >= next_lower) > fpr


def test_missing_threshold_at_fpr_has_a_reason() -> None:
    target = np.array([0] * 99 + [1])
    assert threshold_at_fpr(target, np.linspace(0, 1, 100), 0.01) == (None, "only 99 real clips")
    assert 0 < threshold_at_fpr(target, np.linspace(0, 1, 100), 0.01, must_resolve=False).value <= 1
    assert threshold_at_fpr([0, 0], [1.0, 1.0], 0.5).reason == "too many real clips share the highest score"
    assert threshold_at_fpr([1, 1], [1.0, 1.0], 0.5).reason == "only 0 real clips"


def test_best_balanced_threshold_is_optimal() -> None:
    target, logit = draw(7, 101, shift=0.7)
    score = expit(logit / 5)

    def gain(threshold: float) -> float:
        return np.mean(score[target == 1] >= threshold) - np.mean(score[target == 0] >= threshold)

    best = best_balanced_threshold(target, score).value
    assert gain(best) == pytest.approx(max(gain(threshold) for threshold in np.append(score, 1.1)))
    assert best_balanced_threshold([0, 1], [0.0, 1.0]).value == 0.5
    assert best_balanced_threshold([1, 0], [0.0, 1.0]).reason == "no threshold is better than chance"
    assert best_balanced_threshold([1, 1], [0.0, 1.0]).reason == "no real clips"


def test_cross_fitted_score_does_not_depend_on_its_own_clip() -> None:
    target, logit = draw(8, 50)
    like = fit_calibration(target, logit, fitted_on="valset")
    crossed = cross_fit(target, logit, like=like)
    fold_of = assign_folds(target == 1, np.arange(50), 5, 0)
    held = fold_of == fold_of[0]
    slope, bias = fit_platt(target[~held], logit[~held])
    np.testing.assert_allclose(crossed.score[held], expit(slope * logit[held] + bias))


def test_cross_fitting_random_scores_shows_no_skill() -> None:
    """Check that a threshold tuned on noise beats chance only on its own clips, not when cross-fitted."""
    own, crossed = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        target, logit = np.arange(40) % 2, rng.normal(size=40)
        like = Calibration(threshold_rule="balanced_accuracy")
        best = best_balanced_threshold(target, expit(logit)).value or 0.5
        own.append(np.mean((expit(logit) >= best) == target))
        crossed.append(np.mean(cross_fit(target, logit, like=like, seed=seed).called_fake == target))
    assert np.mean(own) > 0.57
    assert abs(np.mean(crossed) - 0.5) < 0.03


def test_cross_fitting_uses_the_threshold_rule_of_the_calibration_in_small_folds() -> None:
    target, logit = draw(9, 220)
    like = fit_calibration(target, logit, fitted_on="valset", rates=TargetRates(fpr=0.01))
    assert like.threshold_rule == "target_fpr"
    called = cross_fit(target, logit, like=like).called_fake
    assert called[target == 0].mean() < 0.06


def test_folds_keep_groups_whole_and_contain_both_classes() -> None:
    rng = np.random.default_rng(10)
    group = rng.integers(0, 30, 300)
    is_fake = (group % 3 == 0) | ((group % 3 == 1) & (rng.random(300) < 0.5))
    fold_of = assign_folds(is_fake, group, 5, 0)
    assert set(fold_of) == set(range(5))
    assert all(len(set(fold_of[group == g])) == 1 for g in range(30))
    for fold in range(5):
        assert {False, True} == set(is_fake[fold_of == fold])


def test_impossible_cross_fitting_gives_a_reason() -> None:
    crossed = cross_fit([0, 0, 1, 1], [0, 1, 2, 3], like=Calibration(), groups=["a", "a", "b", "c"])
    assert crossed.score is None
    assert crossed.called_fake is None
    assert crossed.reason == "cross-fitting needs 2 groups of each class but one class has 1"


@pytest.mark.parametrize(
    "fields",
    [
        {"slope": 0.0},
        {"slope": -1.0},
        {"slope": float("nan")},
        {"method": "isotonic"},
        {"unknown": 1},
        {"bias": float("nan")},
        {"bias": "0"},
        {"bias": None},
        {"threshold": float("nan")},
        {"threshold": float("inf")},
        {"threshold": 10**400},
        {"threshold": True},
        {"threshold": 0.5, "real_threshold": -1},
        {"threshold": 0.2, "real_threshold": 0.8},
        {"method": ["platt"]},
        {"reason": 5},
        {"n": float("nan")},
        {"method": "isotonic", "isotonic": [[], []]},
        {"method": "isotonic", "isotonic": [[0, 1], [1, 0]]},
        {"method": "isotonic", "isotonic": [[0, 1], [0, 5]]},
        {"method": "isotonic", "isotonic": [[0], [0, 1]]},
        {"method": "isotonic", "isotonic": [["a"], ["b"]]},
    ],
    ids=str,
)
def test_invalid_calibrations_are_rejected(fields: dict) -> None:
    with pytest.raises(ValueError, match=r"slope|knot|no field|calibration|threshold"):
        Calibration.from_dict(fields)


def test_infinite_logits_are_rejected() -> None:
    with pytest.raises(ValueError, match="infinite"):
        fit_calibration([0, 0, 1, 1], [0, 1, 2, np.inf], fitted_on="valset")
