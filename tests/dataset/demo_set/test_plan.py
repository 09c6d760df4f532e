"""The plan of a demo set: sizes, balance, disjoint splits, and names that do not reveal the class."""

from __future__ import annotations

from collections import Counter

import pytest

from dataset.demo_set.forge import FORGERS
from dataset.demo_set.plan import REAL, ROUND, SPLITS, DemoSettings, plan_demo_set
from utils.errors import UsageError


def _types(groups, split):
    return Counter(clip.type for group in groups if group.split == split for clip in group.clips)


@pytest.mark.parametrize("clips", [24, 25, 47, 240, 480])
def test_every_clip_is_planned_once(clips):
    groups = plan_demo_set(DemoSettings(clips=clips))
    names = [clip.name for group in groups for clip in group.clips]
    assert len(names) == len(set(names)) == clips
    assert [clip.index for group in groups for clip in group.clips] == list(range(clips))


def test_every_split_of_the_default_set_has_the_planned_class_shares():
    groups = plan_demo_set(DemoSettings())
    for split, size in zip(SPLITS, (240, 120, 120), strict=True):
        counts = _types(groups, split)
        assert counts.total() == size
        assert counts.pop(REAL) == size // 3
        assert set(counts) == set(FORGERS)
        shares = Counter(kind or "another" for kind in ROUND)
        for kind in FORGERS:
            assert abs(counts[kind] - counts.total() * shares.get(kind, 1) / len(ROUND)) <= 2


def test_each_group_has_its_real_clip_and_different_fakes():
    for group in plan_demo_set(DemoSettings(clips=100, seed=5)):
        types = [clip.type for clip in group.clips]
        assert types[0] == REAL and REAL not in types[1:]
        assert len(set(types)) == len(types)


def test_splits_share_neither_identities_nor_donors():
    groups = plan_demo_set(DemoSettings(clips=200, seed=2))
    people = {split: {i for g in groups if g.split == split for i in (g.identity, g.donor)} for split in SPLITS}
    assert len({g.identity for g in groups}) == len(groups)
    assert all(g.donor != g.identity for g in groups)
    assert not people["trainset"] & people["valset"]
    assert not people["trainset"] & people["testset"]
    assert not people["valset"] & people["testset"]


def test_plan_depends_on_its_settings_only():
    assert plan_demo_set(DemoSettings(seed=4)) == plan_demo_set(DemoSettings(seed=4))
    assert plan_demo_set(DemoSettings(seed=4)) != plan_demo_set(DemoSettings(seed=5))


def test_order_of_names_is_independent_of_the_class():
    clips = [clip for group in plan_demo_set(DemoSettings(clips=3000)) for clip in group.clips]
    ranks = [clip.target for clip in sorted(clips, key=lambda clip: clip.name)]
    first_half = sum(ranks[:1500])
    # Hypergeometric: 2000 fakes among 3000; the standard deviation of the number in the first half is 12.9.
    assert abs(first_half - 1000) < 4 * 12.9


@pytest.mark.parametrize(
    "wrong",
    [{"clips": 23}, {"seed": -1}, {"duration_s": (3.0, 2.0)}, {"duration_s": (2.0, 20.0)}, {"sizes_px": (33,)}],
)
def test_settings_out_of_range_are_usage_errors(wrong):
    with pytest.raises(UsageError):
        DemoSettings(**wrong)
