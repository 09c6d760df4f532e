"""Descriptions of clips that a fit keeps: made once, whole, and another one whenever they would differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataset import clip_bank
from dataset.clip_bank import ClipTask, describe_clips
from tests.support import FEATURE_CONFIG, WITH_FACE, write_head, write_video
from utils.features.extract import extract_clip


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[ClipTask]:
    folder = tmp_path_factory.mktemp("clips")
    paths = [
        write_head(folder / "head.mp4"),
        write_head(folder / "mute.mp4", audio=False),
        write_video(folder / "square.mp4", 0),
        write_video(folder / "sound.mp4", 0, video=False),
        folder / "absent.mp4",
    ]
    return [ClipTask(path.stem, path, WITH_FACE, None, folder / "bank") for path in paths]


def test_what_says_nothing_is_none(tasks: list[ClipTask]) -> None:
    head, mute, square, sound, absent = describe_clips(tasks, workers=1, timeout_s=60)
    assert head is not None and mute is not None and square is not None and sound is not None and absent is None
    features = extract_clip(tasks[0].path, WITH_FACE)
    pair = head.sync()
    assert pair is not None and features.face is not None
    np.testing.assert_array_equal(pair[0], features.face.mouth)
    np.testing.assert_array_equal(pair[1], features.speech)
    np.testing.assert_array_equal(head.covariance(), features.covariance)
    assert mute.sync() is None is square.sync() and square.covariance() is not None
    assert sound.covariance() is None


def test_what_is_kept_is_not_made_again(tasks: list[ClipTask], monkeypatch) -> None:
    describe_clips(tasks[:3], workers=1, timeout_s=60)
    monkeypatch.setattr(clip_bank, "run_in_workers", lambda *_, **__: pytest.fail("made again"))
    assert None not in describe_clips(tasks[:3], workers=1, timeout_s=60)


def test_the_file_follows_all_that_decides_its_content(tasks: list[ClipTask], tmp_path: Path) -> None:
    other = tmp_path / "head.mp4"
    other.write_bytes(tasks[0].path.read_bytes() + b"\0")
    variants = [
        tasks[0],
        replace(tasks[0], name="other"),
        replace(tasks[0], path=other),
        replace(tasks[0], features=FEATURE_CONFIG),
        replace(tasks[0], max_frames=10),
    ]
    assert len({task.kept for task in variants}) == len(variants)
