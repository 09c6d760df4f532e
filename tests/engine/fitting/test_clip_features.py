"""Cached features of labelled clips: extracted once, and again if the clip or the settings change."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset.clips import ClipTable
from engine.fitting import LabelledClips, base
from engine.fitting.clip_features import CachedClip, FeatureTask, extract_labelled
from engine.run import split_of
from tests.support import FEATURE_CONFIG, WITH_FACE, tiny_config, write_head, write_video
from utils.cache import content_key
from utils.features.extract import extract_clip

NAMES = ["head.mp4", "mute.mp4", "square.mp4", "sound.mp4", "absent.mp4"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    clips = folder / "trainset"
    write_head(clips / "head.mp4")
    write_head(clips / "mute.mp4", audio=False)
    write_video(clips / "square.mp4", 0)
    write_video(clips / "sound.mp4", 0, video=False)
    return folder


def extracted(root: Path, names: list[str] = NAMES) -> list[CachedClip | None]:
    config = tiny_config(root, features={"face": True}, extraction={"workers": 1}, fit={"cache": str(root / "cache")})
    labels = pd.DataFrame({"video_name": names, "target": 0})
    table = ClipTable(split_of(config, "trainset", config.features), labels, None)  # type: ignore[arg-type]
    return extract_labelled(LabelledClips(table, np.arange(len(names)), np.array(names)), config)


def test_missing_parts_are_none(root: Path) -> None:
    head, mute, square, sound, absent = extracted(root)
    assert head is not None and mute is not None and square is not None and sound is not None and absent is None
    values = extract_clip(root / "trainset" / "head.mp4", WITH_FACE).values
    pair = head.sync()
    assert pair is not None
    np.testing.assert_array_equal(pair[0], values["face"].mouth)
    np.testing.assert_array_equal(pair[1], values["speech"])
    np.testing.assert_array_equal(head.covariance(), values["covariance"])
    np.testing.assert_array_equal(head.array("motion"), values["face"].motion)
    assert mute.sync() is None is square.sync() and square.covariance() is not None
    assert square.array("motion") is None
    assert sound.covariance() is None


def test_cached_features_are_not_extracted_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extracted(root, NAMES[:3])
    monkeypatch.setattr(base, "run_in_workers", lambda *_, **__: pytest.fail("extracted again"))
    assert None not in extracted(root, NAMES[:3])


def test_a_changed_clip_of_equal_size_and_time_is_extracted_again(root: Path) -> None:
    clip = root / "trainset" / "changing.mp4"
    first, second = (write_video(root / f"{seed}.mkv", seed, video=False).read_bytes() for seed in (0, 1))
    size = max(len(first), len(second))
    clip.write_bytes(first.ljust(size, b"\0"))
    (before,) = extracted(root, ["changing.mp4"])
    facts = clip.stat()
    clip.write_bytes(second.ljust(size, b"\0"))
    os.utime(clip, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    (after,) = extracted(root, ["changing.mp4"])
    assert before is not None and after is not None and clip.stat().st_size == facts.st_size
    assert before.path != after.path


def test_file_name_depends_on_everything_that_affects_its_content(root: Path, tmp_path: Path) -> None:
    path = root / "trainset" / "head.mp4"
    task = FeatureTask("head", path, content_key(path), WITH_FACE, None, tmp_path)
    variants = [
        task,
        replace(task, content=content_key(root / "trainset" / "mute.mp4")),
        replace(task, features=FEATURE_CONFIG),
        replace(task, max_frames=10),
        replace(task, inputs=("mel",)),
    ]
    assert len({variant.cache_path for variant in variants}) == len(variants)
    assert replace(task, name="renamed").cache_path == task.cache_path
