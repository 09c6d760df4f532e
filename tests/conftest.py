"""Fixtures for all tests: generated media, a folder of real clips named by an environment variable, and a tiny data root."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utils.media.writer import write_clip

CLIPS_VARIABLE = "MULTI_FFDV_CLIPS"


def pytest_configure() -> None:
    """Restore the handlers of SIGINT and SIGHUP, which a shell's background jobs and nohup ignore; some tests send them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Media:
    """Factory of synthetic clips: a square moving over a static pattern, with a tone as audio."""

    @staticmethod
    def frames(count: int, height: int = 48, width: int = 64, seed: int = 0) -> Iterator[np.ndarray]:
        """Yield `count` frames (H, W, 3) uint8."""
        rng = np.random.default_rng(seed)
        pattern = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        pattern = pattern.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
        side = min(height, width) // 2
        for index in range(count):
            frame = pattern.copy()
            left = (index * 3) % (width - side)
            frame[:side, left : left + side] = (250, (index * 7) % 256, 20)
            yield frame

    @staticmethod
    def tone(seconds: float, rate_hz: int = 44_100, channels: int = 1, tone_hz: float = 440.0) -> np.ndarray:
        """Return (S,) or (S, channels) float32 in [-0.4, 0.4]; each channel is an octave above the previous one."""
        time_s = np.arange(round(seconds * rate_hz)) / rate_hz
        tones = [0.4 * np.sin(2 * np.pi * tone_hz * 2**channel * time_s) for channel in range(channels)]
        waveform = np.stack(tones, axis=1).astype(np.float32)
        return waveform[:, 0] if channels == 1 else waveform

    @classmethod
    def clip(
        cls, path: Path, seconds: float = 0.6, *, seed: int = 0, size: tuple[int, int] = (48, 64), **options: Any
    ) -> Path:
        """Write a clip at 25 frames per second with a tone; `options` are passed to `write_clip`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rate_hz = options.pop("sample_rate_hz", 44_100)
        frames = options.pop("frames", cls.frames(round(seconds * 25), *size, seed=seed))
        waveform = options.pop("waveform", cls.tone(seconds, rate_hz, tone_hz=300.0 + 40 * seed))
        write_clip(path, frames, options.pop("fps", 25), waveform, rate_hz, **options)
        return path


@pytest.fixture(scope="session")
def media() -> type[Media]:
    """Return the media factory."""
    return Media


@pytest.fixture(scope="session")
def clips() -> Path:
    """Return the folder of real clips that the environment variable names; skip the test if it is not set."""
    folder = os.environ.get(CLIPS_VARIABLE)
    if not folder:
        pytest.skip(f"{CLIPS_VARIABLE} is not set; it names a folder of real clips")
    return Path(folder)


@pytest.fixture(scope="session")
def pristine_root(tmp_path_factory: pytest.TempPathFactory, media: type[Media]) -> Path:
    """Write a data root with eight clips in trainset and two in valset, not extracted. Tests must not modify it."""
    root = tmp_path_factory.mktemp("data_root")
    for split, count in (("trainset", 8), ("valset", 2)):
        names = [f"{split[0]}{index}.mp4" for index in range(count)]
        for index, name in enumerate(names):
            media.clip(root / split / name, 0.3 + 0.04 * index, seed=index)
        rows = [f"{name},{index % 2}" for index, name in enumerate(names)]
        (root / f"{split}_label.txt").write_text("\n".join(["video_name,target", *rows]) + "\n", encoding="utf-8")
    return root


@pytest.fixture
def data_root(pristine_root: Path, tmp_path: Path) -> Path:
    """Return a copy of `pristine_root` that the test may modify."""
    return Path(shutil.copytree(pristine_root, tmp_path / "data"))
