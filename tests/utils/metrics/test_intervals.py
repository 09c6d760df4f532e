"""Bootstrap intervals: reproducibility, exact resampling and coverage."""

from __future__ import annotations

import numpy as np
import pytest

from utils.metrics.intervals import (
    PairOrder,
    auc_within_sources,
    bootstrap_auc,
    bootstrap_auc_over_groups,
    newcombe_interval,
    same_source_auc,
)
from utils.metrics.ranking import roc_auc


def draw(seed: int, n_real: int, n_fake: int, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = np.repeat([0, 1], [n_real, n_fake])
    return target, rng.normal(size=n_real + n_fake) + shift * target


@pytest.mark.parametrize("levels", [None, 2])
def test_auc_from_draw_counts_equals_auc_of_repeated_clips(levels: int | None) -> None:
    target, score = draw(0, 20, 30)
    score = score if levels is None else np.round(score * levels)
    order = PairOrder(target, score)
    rng = np.random.default_rng(1)
    real_counts, fake_counts = rng.integers(0, 4, (5, 20)), rng.integers(0, 4, (5, 30))
    for auc, real, fake in zip(order.auc(real_counts, fake_counts), real_counts, fake_counts, strict=True):
        rows = np.concatenate([np.repeat(order.real, real), np.repeat(order.fake, fake)])
        assert auc == pytest.approx(roc_auc(target[rows], score[rows]).value, abs=1e-12)


def test_resample_without_a_class_has_no_auc() -> None:
    order = PairOrder([0, 1], [0.0, 1.0])
    assert np.isnan(order.auc(np.array([[0]]), np.array([[1]]))).all()


def test_interval_is_reproducible_and_contains_the_value() -> None:
    target, score = draw(2, 60, 80)
    first = bootstrap_auc(target, score, seed=3)
    assert first == bootstrap_auc(target, score, seed=3)
    assert first != bootstrap_auc(target, score, seed=4)
    assert first.low < first.value < first.high
    assert first.value == roc_auc(target, score).value
    assert first.units == 140
    assert first.reason == ""


def test_resampling_in_chunks_gives_the_same_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    target, score = draw(5, 30, 30)
    whole = bootstrap_auc(target, score, resamples=500)
    monkeypatch.setattr("utils.metrics.intervals.CELLS_AT_ONCE", 60 * 7)
    chunks = bootstrap_auc(target, score, resamples=500)
    assert chunks.low == pytest.approx(whole.low, abs=0.03)
    assert chunks.high == pytest.approx(whole.high, abs=0.03)


def test_interval_covers_the_true_auc_at_the_nominal_rate() -> None:
    true_auc = 0.7602499389065233  # of two normal distributions one standard deviation apart
    covered = 0
    for seed in range(200):
        interval = bootstrap_auc(*draw(seed, 40, 40), resamples=300, seed=seed)
        covered += interval.low <= true_auc <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_interval_of_perfect_separation_has_a_width() -> None:
    ten = bootstrap_auc([0] * 5 + [1] * 5, range(10))
    assert ten.value == 1.0
    assert ten.high == 1.0
    assert 0.5 < ten.low < 0.8
    assert "Newcombe" in ten.reason
    many = bootstrap_auc([0] * 500 + [1] * 500, range(1000))
    assert many.low > 0.99


def test_newcombe_limits_solve_the_score_equation() -> None:
    low, high = newcombe_interval(0.8, 30, 50)
    for theta in (low, high):
        spread = 1 + 39 * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        error = np.sqrt(theta * (1 - theta) * spread / (30 * 50))
        assert abs(theta - 0.8) == pytest.approx(1.959964 * error, rel=1e-5)
    mirrored = newcombe_interval(0.2, 30, 50)
    assert mirrored == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(
    ("target", "reason"),
    [([0, 1, 1], "only 1 real clip"), ([0, 0, 1], "only 1 fake clip")],
)
def test_single_clip_of_a_class_gives_no_limits(target: list[int], reason: str) -> None:
    interval = bootstrap_auc(target, [0.1, 0.2, 0.3])
    assert interval.value is not None
    assert interval.low is None
    assert interval.high is None
    assert interval.reason == reason


def test_missing_class_gives_no_value() -> None:
    assert bootstrap_auc([1, 1], [0.1, 0.2])[:3] == (None, None, None)
    assert bootstrap_auc([1, 1], [0.1, 0.2]).reason == "no real clips"
    assert bootstrap_auc([0, 1], [0.1, 0.2], resamples=0).reason == "no resampling was requested"


def test_duplicated_clips_widen_the_group_interval() -> None:
    target, score = draw(6, 25, 25)
    copies = 8
    many_target, many_score = np.repeat(target, copies), np.repeat(score, copies)
    groups = np.repeat(np.arange(50), copies)
    by_clip = bootstrap_auc(many_target, many_score)
    by_group = bootstrap_auc_over_groups(many_target, many_score, groups)
    alone = bootstrap_auc(target, score)
    assert by_group.units == 50
    assert by_group.high - by_group.low > 2 * (by_clip.high - by_clip.low)
    assert by_group.high - by_group.low == pytest.approx(alone.high - alone.low, rel=0.2)


def test_too_few_groups_give_no_limits() -> None:
    interval = bootstrap_auc_over_groups([0, 0, 1, 1], [0.1, 0.3, 0.2, 0.4], ["a", "a", "b", "c"])
    assert interval.value == 0.75
    assert interval.low is None
    assert interval.reason == "only 1 group with real clips"
    with pytest.raises(ValueError, match="one label per clip"):
        bootstrap_auc_over_groups([0, 1], [0.1, 0.3], ["a"])


def test_same_source_auc_is_the_mean_within_sources_regardless_of_offsets() -> None:
    rng = np.random.default_rng(7)
    source = np.repeat(["a", "b", "c", "d"], 40)
    target = np.tile([0, 1], 80)
    score = rng.normal(size=160) + target
    within = [roc_auc(target[source == s], score[source == s]).value for s in "abcd"]
    interval = same_source_auc(target, score, source)
    assert interval.value == pytest.approx(np.mean(within))
    assert interval.units == 4
    assert min(within) <= interval.low < interval.value < interval.high <= max(within)
    offset = {"a": 0, "b": 100, "c": -50, "d": 7}
    moved = same_source_auc(target, score + np.array([offset[s] for s in source]), source)
    assert moved.value == pytest.approx(interval.value)


def test_single_class_sources_do_not_affect_same_source_auc() -> None:
    source = ["reals"] * 50 + ["fakes"] * 50 + ["both"] * 4
    target = [0] * 50 + [1] * 50 + [0, 1, 0, 1]
    score = [0.0] * 50 + [1.0] * 50 + [0.6, 0.5, 0.4, 0.5]
    assert roc_auc(target, score).value > 0.9
    interval = same_source_auc(target, score, source)
    assert interval == (0.5, None, None, 1, "only 1 source has both classes")
    assert auc_within_sources(target, score, source) == {"both": 0.5}
    assert same_source_auc([0, 1], [0, 1], ["a", "b"]).reason == "no source has both real and fake clips"
