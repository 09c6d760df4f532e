"""DeLong's variance and test compared with the pairwise definition, and Holm's correction with its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from utils.metrics.delong import delong_covariance, delong_interval, delong_test, holm
from utils.metrics.ranking import roc_auc


def by_all_pairs(target: np.ndarray, scores: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Compute AUCs and covariance by the definition of DeLong et al. (1988), comparing every fake with every real."""
    of_fake, of_real = [], []
    for score in scores:
        gap = score[target == 1][:, None] - score[target == 0][None, :]
        won = (gap > 0) + 0.5 * (gap == 0)
        of_fake.append(won.mean(axis=1))
        of_real.append(won.mean(axis=0))
    m, n = len(of_fake[0]), len(of_real[0])
    covariance = np.atleast_2d(np.cov(of_fake)) / m + np.atleast_2d(np.cov(of_real)) / n
    return np.mean(of_fake, axis=1), covariance


def draw(seed: int, n_real: int, n_fake: int, levels: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.permutation(np.repeat([0, 1], [n_real, n_fake]))
    shared = rng.normal(size=n_real + n_fake)
    a = shared + rng.normal(size=len(target)) + 1.2 * target
    b = shared + rng.normal(size=len(target)) + 0.8 * target
    return (target, a, b) if levels is None else (target, np.round(a * levels), np.round(b * levels))


@pytest.mark.parametrize("levels", [None, 1, 3])
@pytest.mark.parametrize(("n_real", "n_fake"), [(2, 2), (5, 30), (60, 41)])
def test_covariance_equals_the_pairwise_definition(n_real: int, n_fake: int, levels: int | None) -> None:
    target, a, b = draw(n_real, n_real, n_fake, levels)
    aucs, covariance = delong_covariance(target, [a, b])
    expected_aucs, expected = by_all_pairs(target, [a, b])
    np.testing.assert_allclose(aucs, expected_aucs, atol=1e-12)
    np.testing.assert_allclose(covariance, expected, atol=1e-12)


@pytest.mark.parametrize("levels", [None, 2])
def test_paired_test_equals_the_pairwise_definition(levels: int | None) -> None:
    target, a, b = draw(1, 50, 40, levels)
    aucs, covariance = by_all_pairs(target, [a, b])
    z = (aucs[0] - aucs[1]) / np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    test = delong_test(target, a, b)
    assert test.delta == pytest.approx(aucs[0] - aucs[1])
    assert test.p == pytest.approx(2 * norm.sf(abs(z)))
    assert test.n == 90
    assert test.low < test.delta < test.high
    assert (test.low > 0) == (test.p < 0.05 and test.delta > 0)


def test_worked_example() -> None:
    """Check placements computed by hand: fakes 1, 1/2, 1 and reals 1, 2/3 have variances 1/12 and 1/18."""
    aucs, covariance = delong_covariance([0, 0, 1, 1, 1], [[1, 3, 4, 2, 5]])
    assert aucs[0] == pytest.approx(5 / 6)
    assert covariance[0, 0] == pytest.approx((1 / 12) / 3 + (1 / 18) / 2)


def test_swapping_the_systems_negates_the_difference() -> None:
    target, a, b = draw(2, 30, 30)
    forth, back = delong_test(target, a, b), delong_test(target, b, a)
    assert back.delta == pytest.approx(-forth.delta)
    assert back.p == pytest.approx(forth.p)
    assert back.low == pytest.approx(-forth.high)


def test_equal_rankings_have_zero_difference() -> None:
    target, a, _ = draw(3, 20, 20)
    test = delong_test(target, a, np.exp(a))
    assert (test.delta, test.low, test.high, test.p, test.reason) == (0.0, 0.0, 0.0, 1.0, "")


def test_impossible_test_gives_a_reason() -> None:
    opposite = delong_test([0, 0, 1, 1], [0, 1, 2, 3], [3, 2, 1, 0])
    assert opposite.delta == 1.0
    assert opposite.p is None
    assert "variance" in opposite.reason
    assert delong_test([0, 1, 1], [0, 1, 2], [0, 1, 2]).reason == "fewer than 2 clips of a class scored by both"
    assert delong_test([1, 1], [0, 1], [0, 1]).reason == "no real clips scored by both"
    with pytest.raises(ValueError, match="2 clips of each class"):
        delong_covariance([0, 1, 1], [[0, 1, 2]])


def test_p_values_are_uniform_for_equally_good_systems() -> None:
    rng = np.random.default_rng(4)
    target = np.repeat([0, 1], 50)
    p_values = [delong_test(target, rng.normal(size=100) + target, rng.normal(size=100) + target).p for _ in range(400)]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09


def test_interval_is_within_0_1_and_contains_the_auc() -> None:
    target, a, _ = draw(5, 8, 8)
    interval = delong_interval(target, a)
    assert 0 < interval.low < interval.value < interval.high < 1
    assert interval.value == pytest.approx(roc_auc(target, a).value)
    separated = delong_interval([0, 0, 1, 1], [0, 1, 2, 3])
    assert separated.value == separated.high == 1.0
    assert separated.low < 0.7
    assert "Newcombe" in separated.reason
    single = delong_interval([0, 1, 1], [1, 0, 2])
    assert single.value == 0.5
    assert single.low is None
    assert single.reason == "only 1 real clip"
    assert delong_interval([1], [0]).reason == "no real clips"


def test_holm_of_a_known_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_is_between_raw_and_bonferroni(p_values: list[float]) -> None:
    corrected = np.array(holm(p_values))
    raw = np.array(p_values)
    assert np.all(np.diff(corrected[np.argsort(raw, kind="stable")]) >= 0)
    assert np.all(corrected >= raw)
    assert np.all(corrected <= np.minimum(1, raw * len(raw)).max())
    assert corrected.min() == pytest.approx(min(1.0, raw.min() * len(raw)))
