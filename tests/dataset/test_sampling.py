"""Order of the training clips: seeds, balancing, and division among processes."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.sampling import BatchShare, EpochSampler, draw_chances


def order_of(count: int, seed: int, epoch: int, chances: np.ndarray | None = None) -> list[int]:
    sampler = EpochSampler(count, seed=seed, chances=chances)
    sampler.set_epoch(epoch)
    assert len(sampler) == count
    return list(sampler)


def test_order_depends_on_seed_and_epoch_only() -> None:
    assert order_of(100, 0, 1) == order_of(100, 0, 1) != order_of(100, 0, 2)
    assert order_of(100, 0, 1) != order_of(100, 1, 1)
    assert sorted(order_of(100, 0, 1)) == list(range(100))


def test_balanced_order_draws_both_classes_equally() -> None:
    targets = np.array([0.0] * 1900 + [1.0] * 100)
    drawn = targets[order_of(2000, 0, 0, draw_chances(targets, None, balance_classes=True))]
    assert len(drawn) == 2000 and drawn.mean() == pytest.approx(0.5, abs=0.05)


def test_without_balancing_there_are_no_chances() -> None:
    assert draw_chances(np.array([0.0, 1.0]), None, balance_classes=False) is None


@pytest.mark.parametrize("classes", [False, True])
def test_sources_are_drawn_equally_often(classes: bool) -> None:
    targets = np.array([0.0, 0, 0, 0, 1, 1, 1, 0])
    sources = np.array(["a", "a", "a", "b", "a", "b", "b", "c"])
    chances = draw_chances(targets, sources, balance_classes=classes)
    assert chances is not None and chances.sum() == pytest.approx(1)
    by_source = {name: chances[sources == name].sum() for name in "abc"}
    if classes:
        assert chances[targets == 1].sum() == pytest.approx(0.5)
        # The real clips have three sources, the fakes two.
        assert by_source == pytest.approx({"a": 1 / 6 + 1 / 4, "b": 1 / 6 + 1 / 4, "c": 1 / 6})
    else:
        assert by_source == pytest.approx(dict.fromkeys("abc", 1 / 3))


@pytest.mark.parametrize(("count", "size"), [(10, 1), (10, 3), (9, 2), (1, 3), (0, 2)])
def test_processes_share_each_batch_and_every_clip_occurs_once(count: int, size: int) -> None:
    shares = [BatchShare(range(count), 4, rank=rank, size=size) for rank in range(size)]
    for share in shares:
        assert len(share) == len(list(share))
    batches = [
        [share[number] for share in map(list, shares) if number < len(share)] for number in range(-(-count // 4))
    ]
    together = [sorted(clip for part in parts for clip in part) for parts in batches]
    assert together == [list(range(start, min(start + 4, count))) for start in range(0, count, 4)]
