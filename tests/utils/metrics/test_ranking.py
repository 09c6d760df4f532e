"""Ranking metrics compared with scikit-learn, with ties, weights, one class and few clips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn import metrics as sklearn_metrics

from utils.metrics.ranking import (
    average_precision,
    balanced_accuracy,
    det_curve,
    equal_error_rate,
    resolves_rate,
    roc_auc,
    roc_curve,
    tally,
    tpr_at_fpr,
)

METRICS = (roc_auc, average_precision, equal_error_rate)


def draw(seed: int, n: int, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return targets of both classes, and scores rounded to ``levels`` steps to create ties."""
    rng = np.random.default_rng(seed)
    target = np.concatenate([[0, 1], rng.integers(0, 2, n - 2)])
    score = rng.normal(size=n) + 0.8 * target
    return target, score if levels is None else np.round(score * levels) / levels


@st.composite
def tied_clips(drawn: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Generate a few clips of both classes with few distinct scores."""
    rows = drawn(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=1, max_size=30))
    target, score = zip(*rows, (0, drawn(st.integers(-3, 3))), (1, drawn(st.integers(-3, 3))), strict=True)
    return np.array(target), np.array(score, dtype=float)


@pytest.mark.parametrize("n", [2, 3, 10, 1000])
@pytest.mark.parametrize("levels", [None, 4, 1])
def test_auc_and_ap_equal_scikit_learn(n: int, levels: int | None) -> None:
    target, score = draw(n, n, levels)
    assert roc_auc(target, score).value == pytest.approx(sklearn_metrics.roc_auc_score(target, score), abs=1e-12)
    expected = sklearn_metrics.average_precision_score(target, score)
    assert average_precision(target, score).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("levels", [None, 2])
def test_weights_equal_scikit_learn(levels: int | None) -> None:
    target, score = draw(5, 300, levels)
    weight = np.random.default_rng(6).random(300)
    expected = sklearn_metrics.roc_auc_score(target, score, sample_weight=weight)
    assert roc_auc(target, score, weight).value == pytest.approx(expected, abs=1e-12)
    expected = sklearn_metrics.average_precision_score(target, score, sample_weight=weight)
    assert average_precision(target, score, weight).value == pytest.approx(expected, abs=1e-12)


def test_integer_weights_equal_repeated_clips() -> None:
    target, score = draw(7, 40, 2)
    times = np.random.default_rng(8).integers(1, 4, 40)
    for metric in METRICS:
        repeated = metric(np.repeat(target, times), np.repeat(score, times)).value
        assert metric(target, score, times).value == pytest.approx(repeated, abs=1e-12)


@pytest.mark.parametrize("levels", [None, 3, 1])
def test_roc_curve_points_match_scikit_learn(levels: int | None) -> None:
    target, score = draw(9, 200, levels)
    curve = roc_curve(target, score)
    fpr, tpr, _ = sklearn_metrics.roc_curve(target, score, drop_intermediate=False)
    inside = {(round(x, 12), round(y, 12)) for x, y in zip(fpr, tpr, strict=True)}
    assert {(round(x, 12), round(y, 12)) for x, y in zip(curve.fpr, curve.tpr, strict=True)} <= inside
    assert sklearn_metrics.auc(curve.fpr, curve.tpr) == pytest.approx(roc_auc(target, score).value, abs=1e-12)
    for x, y, threshold in zip(curve.fpr, curve.tpr, curve.threshold, strict=True):
        assert np.mean(score[target == 0] >= threshold) == pytest.approx(x)
        assert np.mean(score[target == 1] >= threshold) == pytest.approx(y)


def test_det_curve_is_the_roc_curve_with_false_negative_rate() -> None:
    target, score = draw(10, 100)
    roc, det = roc_curve(target, score), det_curve(target, score)
    np.testing.assert_allclose(det.fnr, 1 - roc.tpr)
    np.testing.assert_array_equal(det.fpr, roc.fpr)


@pytest.mark.parametrize("levels", [None, 4, 1])
@pytest.mark.parametrize("n", [2, 15, 500])
def test_eer_is_where_fpr_equals_fnr_on_the_roc_curve(n: int, levels: int | None) -> None:
    target, score = draw(n + 1, n, levels)
    points = np.stack(sklearn_metrics.roc_curve(target, score, drop_intermediate=False)[:2], axis=1)
    after = next(i for i, (x, y) in enumerate(points) if x + y >= 1)
    start, step = points[after - 1], points[after] - points[after - 1]
    share = brentq(lambda t: (start + t * step).sum() - 1, 0, 1)
    assert equal_error_rate(target, score).value == pytest.approx((start + share * step)[0], abs=1e-9)


@pytest.mark.parametrize(("score", "rate"), [([0, 1, 2, 3], 0.0), ([3, 2, 1, 0], 1.0), ([1, 1, 1, 1], 0.5)])
def test_eer_of_known_rankings(score: list[int], rate: float) -> None:
    assert equal_error_rate([0, 0, 1, 1], score).value == pytest.approx(rate)


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("levels", [None, 5])
def test_tpr_at_fpr_is_the_best_attainable(fpr: float, levels: int | None) -> None:
    target, score = draw(11, 1000, levels)
    rates, found, _ = sklearn_metrics.roc_curve(target, score, drop_intermediate=False)
    assert tpr_at_fpr(target, score, fpr).value == pytest.approx(found[rates <= fpr].max(), abs=1e-12)


def test_tpr_at_fpr_needs_enough_reals() -> None:
    target = np.array([0] * 15 + [1] * 50)
    score = np.arange(65.0)
    assert tpr_at_fpr(target, score, 0.001) == (None, "only 15 real clips")
    assert tpr_at_fpr(target, score, 0.1).value == 1.0
    assert tpr_at_fpr([0, 1], [0, 1], 0.01).reason == "only 1 real clip"
    assert resolves_rate(100, 0.01)
    assert resolves_rate(1000, 0.001)
    assert not resolves_rate(999, 0.001)
    with pytest.raises(ValueError, match="between 0 and 1"):
        tpr_at_fpr(target, score, 1.0)


@pytest.mark.parametrize("metric", [*METRICS, lambda t, s: tpr_at_fpr(t, s, 0.5), balanced_accuracy])
def test_missing_class_gives_a_reason_instead_of_a_value(metric) -> None:
    assert metric([1, 1], [0, 1]) == (None, "no real clips")
    assert metric([0, 0], [0, 1]) == (None, "no fake clips")
    assert metric([], []).value is None
    assert roc_curve([1], [0.0]) is None
    assert det_curve([1], [0.0]) is None


@settings(deadline=None)
@given(tied_clips())
def test_auc_counts_pairs_with_ties_as_half(clips: tuple[np.ndarray, np.ndarray]) -> None:
    target, score = clips
    gap = score[target == 1][:, None] - score[target == 0][None, :]
    assert roc_auc(target, score).value == pytest.approx(np.mean((gap > 0) + 0.5 * (gap == 0)), abs=1e-12)


@settings(deadline=None)
@given(tied_clips())
def test_metrics_depend_only_on_the_ranking(clips: tuple[np.ndarray, np.ndarray]) -> None:
    target, score = clips
    shuffled = np.random.default_rng(0).permutation(len(target))
    for metric in METRICS:
        value = metric(target, score).value
        assert 0 <= value <= 1
        assert metric(target, np.exp(score) * 3 - 7).value == value
        assert metric(target[shuffled], score[shuffled]).value == pytest.approx(value, abs=1e-12)


@settings(deadline=None)
@given(tied_clips())
def test_swapping_the_classes_complements_the_auc(clips: tuple[np.ndarray, np.ndarray]) -> None:
    target, score = clips
    assert roc_auc(1 - target, score).value == pytest.approx(1 - roc_auc(target, score).value, abs=1e-12)
    assert equal_error_rate(1 - target, -score).value == pytest.approx(equal_error_rate(target, score).value, abs=1e-9)


def test_balanced_accuracy_equals_scikit_learn_and_accepts_half_decisions() -> None:
    target, score = draw(12, 200)
    called = score > 0.3
    expected = sklearn_metrics.balanced_accuracy_score(target, called)
    assert balanced_accuracy(target, called).value == pytest.approx(expected)
    assert balanced_accuracy(target, np.full(200, 0.5)).value == 0.5


@pytest.mark.parametrize(
    ("target", "score", "weight", "message"),
    [
        ([0, 1], [0.0], None, "one length"),
        ([0, 2], [0.0, 1.0], None, "must be 0"),
        ([0, 1], [0.0, np.nan], None, "NaN"),
        ([0, 1], [0.0, 1.0], [1.0, -1.0], "non-negative"),
        ([0, 1], [0.0, 1.0], [1.0], "one finite"),
    ],
)
def test_invalid_columns_are_rejected(target, score, weight, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tally(target, score, weight)
