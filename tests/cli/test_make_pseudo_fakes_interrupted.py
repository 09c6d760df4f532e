"""Terminating or killing `utils/make_pseudo_fakes.py` keeps finished clips; the same command continues the build."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset.pseudo_fakes.set_folder import CLIPS, LABELS, WORK
from tests.support import write_video
from utils.features.config import FeatureConfig
from utils.features.extract import clip_voice

ROOT = Path(__file__).resolve().parents[2]
CLIP_COUNT = 6


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(CLIP_COUNT):
        write_video(folder / f"{number}.mp4", number)
    return folder


def start(videos: Path, output: Path, workers: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "utils" / "make_pseudo_fakes.py"), "--video_dir", str(videos)]
    options = ["--output", str(output), "--fakes_per_clip", "2", "--seed", "3", "--workers", str(workers)]
    return subprocess.Popen([*command, *options], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def listed(output: Path) -> list[str]:
    labels = output / LABELS
    return pd.read_csv(labels)["video_name"].tolist() if labels.is_file() else []


def wait_for(output: Path, copies: int, process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if len(listed(output)) >= copies or process.poll() is not None:
            return
        time.sleep(0.05)
    pytest.fail("no copy was written")


def audio_of(path: Path) -> np.ndarray:
    return clip_voice(path, FeatureConfig(), trim=False)


def test_interrupted_build_continues_and_equals_an_uninterrupted_one(videos, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = start(videos, whole, workers=2)
    assert done.wait(timeout=300) == 0, done.communicate()[1]

    for number, sent, code in ((1, signal.SIGKILL, -signal.SIGKILL), (2, signal.SIGTERM, 143)):
        process = start(videos, parts, workers=1)
        wait_for(parts, 3 * number, process)
        process.send_signal(sent)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        names = listed(parts)
        assert 3 * number <= len(names) < 3 * CLIP_COUNT and len(names) % 3 == 0
        assert all(len(audio_of(parts / CLIPS / name)) > 16_000 for name in names)

    before = {name: (parts / CLIPS / name).stat().st_mtime_ns for name in listed(parts)}
    assert start(videos, parts, workers=2).wait(timeout=300) == 0
    assert (parts / LABELS).read_bytes() == (whole / LABELS).read_bytes()
    assert all((parts / CLIPS / name).stat().st_mtime_ns == time_ns for name, time_ns in before.items())
    assert sorted(path.name for path in (parts / CLIPS).iterdir()) == sorted(listed(whole))
    assert not (parts / WORK).exists()
    for name in listed(whole):
        np.testing.assert_array_equal(audio_of(parts / CLIPS / name), audio_of(whole / CLIPS / name))
