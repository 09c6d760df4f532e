"""Extraction in shards: completeness, merging, and overwriting."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataset.manifest import Shard, read_rows
from tests.dataset.extraction.conftest import contents, extract, manifest, times
from utils.features.config import FeatureConfig


def test_shards_cover_all_clips_and_are_merged(data_root: Path, extracted: Path) -> None:
    for index in (1, 2, 3):
        summary = extract(data_root, shard=Shard(index, 3))
        assert summary.n_clips == summary.n_new == (3, 3, 2)[index - 1]
        assert len(manifest(data_root, f"extraction.{index}-of-3.csv")) == summary.n_clips
    assert not (data_root / "trainset_raw" / "extraction.csv").exists()
    assert extract(data_root).n_new == 0
    assert contents(data_root) == contents(extracted)
    without_seconds = [[{**row, "seconds": ""} for row in manifest(root)] for root in (data_root, extracted)]
    assert without_seconds[0] == without_seconds[1]


def test_shard_may_be_empty(data_root: Path) -> None:
    summary = extract(data_root, shard=Shard(20, 20))
    assert (summary.n_clips, summary.n_new, summary.coverage) == (0, 0, 1.0)
    assert manifest(data_root, "extraction.20-of-20.csv") == []


def test_overwriting_one_shard_keeps_the_others(extracted: Path) -> None:
    before = times(extracted)
    assert extract(extracted, shard=Shard(2, 2), overwrite=True).n_new == 4
    changed = {name for name, time in times(extracted).items() if before[name] != time}
    assert changed == {name for name in before if any(f"t{index}." in name for index in (1, 3, 5, 7))}
    assert extract(extracted).n_new == 0


def test_unfinished_overwrite_does_not_mix_two_configs(extracted: Path) -> None:
    """Check that files of the shard that was not overwritten are discarded, because their config differs."""
    other = FeatureConfig.model_validate({"video": {"top_k": 16}})
    extract(extracted, other, shard=Shard(1, 2), overwrite=True)
    assert set(read_rows(extracted / "trainset_raw")) == {"t0.mp4", "t2.mp4", "t4.mp4", "t6.mp4"}
    assert extract(extracted, other).n_new == 4
    for index in range(8):
        assert np.load(extracted / "trainset_raw" / "video_feature" / f"t{index}.mp4.npy").shape == (16, 16)
