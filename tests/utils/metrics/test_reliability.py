"""Brier score and calibration error compared with scikit-learn and their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from utils.metrics.reliability import brier_score, expected_calibration_error, reliability_table


def draw(n: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    score = rng.random(n)
    return (rng.random(n) < score**2).astype(int), score


def test_brier_equals_scikit_learn() -> None:
    target, score = draw()
    assert brier_score(target, score).value == pytest.approx(brier_score_loss(target, score))
    assert brier_score([], []) == (None, "no clips")


def test_table_equals_scikit_learn() -> None:
    target, score = draw()
    share, mean = calibration_curve(target, score, n_bins=15)
    table = reliability_table(target, score)
    assert [row.fake_share for row in table] == pytest.approx(share)
    assert [row.mean_score for row in table] == pytest.approx(mean)
    assert sum(row.n for row in table) == 2000


def test_ece_is_the_weighted_mean_gap() -> None:
    target, score = draw()
    bins = np.minimum((score * 15).astype(int), 14)
    gaps = [abs((score[bins == b] - target[bins == b]).mean()) * np.mean(bins == b) for b in range(15)]
    assert expected_calibration_error(target, score).value == pytest.approx(sum(gaps))
    assert expected_calibration_error([0, 1], [0.0, 1.0]).value == 0.0
    assert expected_calibration_error([1, 0], [0.0, 1.0]).value == 1.0
    assert expected_calibration_error([], []) == (None, "no clips")


def test_bin_edges_belong_to_the_upper_bin_and_1_to_the_last() -> None:
    table = reliability_table([0, 1, 1], [0.0, 0.5, 1.0], bins=2)
    assert [row.n for row in table] == [1, 2]
    assert reliability_table([0], [0.1])[14].mean_score is None


@pytest.mark.parametrize("score", [-0.1, 1.1])
def test_scores_outside_0_1_are_rejected(score: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        brier_score([0], [score])
