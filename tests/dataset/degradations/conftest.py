"""A clip with texture, colour, motion and speech-like audio in two containers, and a function to decode files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dataset.degradations import Degradation, degrade_clip, find_family
from utils.media.decode import ClipStream
from utils.media.writer import write_clip

FPS, SECONDS, RATE_HZ = 30, 1.5, 44_100


@dataclass(frozen=True)
class Decoded:
    """The decoded content of a file: (T, H, W, 3) uint8 frames, (S,) float32 samples, and rates."""

    frames: np.ndarray
    waveform: np.ndarray
    fps: float
    rate_hz: int


def decode(path: Path) -> Decoded:
    stream = ClipStream(path)
    frames, blocks = [], [np.zeros(0, np.float32)]
    for item in stream:
        (frames if isinstance(item, np.ndarray) else blocks).append(
            item.copy() if isinstance(item, np.ndarray) else item.samples
        )
    return Decoded(np.array(frames), np.concatenate(blocks), stream.facts.fps, stream.facts.rate_hz)


def packets(path: Path, kind: str) -> list[bytes]:
    """Return the bytes of every packet of the first stream of a kind."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0}) if packet.size]


def degrade(source: Path, folder: Path, family: str, severity: int, seed: int = 7) -> Path:
    return degrade_clip(source, folder / f"{family}-{severity}", Degradation(find_family(family), severity), seed=seed)


def pictures(count: int, height: int = 96, width: int = 128) -> list[np.ndarray]:
    """Return frames of a drifting coloured texture with several scales; levels stay well inside 0..255."""
    rng = np.random.default_rng(3)
    field = np.zeros((2 * height, 2 * width, 3), np.float32)
    for scale, weight in ((1, 8), (2, 12), (8, 40), (32, 60)):
        coarse = rng.standard_normal((2 * height // scale + 1, 2 * width // scale + 1, 3)).astype(np.float32)
        field += weight * cv2.resize(coarse, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    field = np.clip(105 + 0.5 * field, 45, 165).astype(np.uint8)
    return [field[n // 2 : n // 2 + height, n : n + width].copy() for n in range(count)]


def voice(seconds: float, rate_hz: int) -> np.ndarray:
    """Return harmonics of 150 Hz up to 12 kHz with a syllable rhythm, plus noise; (S,) float32 below 0.5."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    harmonics = sum(np.sin(2 * np.pi * 150 * k * time_s + k * k) / k**0.7 for k in range(1, 80))
    rhythm = 0.55 + 0.45 * np.sin(2 * np.pi * 4.1 * time_s)
    breath = 0.3 * np.random.default_rng(4).standard_normal(time_s.size)
    wave = rhythm * (harmonics + breath)
    return (0.4 * wave / np.abs(wave).max()).astype(np.float32)


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    """Write the clip as H.264 and AAC in MP4."""
    path = tmp_path_factory.mktemp("source") / "clip.mp4"
    frames = pictures(round(FPS * SECONDS))
    write_clip(path, frames, FPS, voice(SECONDS, RATE_HZ), RATE_HZ, video_options={"crf": "8"}, audio_bit_rate=160_000)
    return path


@pytest.fixture(scope="session")
def webm(tmp_path_factory) -> Path:
    """Write the clip as VP9 and two-channel Opus in WebM."""
    path = tmp_path_factory.mktemp("source") / "clip.webm"
    sound = np.stack([voice(1.0, 48_000)] * 2, axis=1)
    options = {"crf": "20", "b": "0", "deadline": "realtime", "cpu-used": "8"}
    write_clip(
        path, pictures(20), 20, sound, 48_000, video_codec="libvpx-vp9", audio_codec="libopus", video_options=options
    )
    return path


@pytest.fixture(scope="session")
def source(clip) -> Decoded:
    """Return the decoded MP4 clip."""
    return decode(clip)


@pytest.fixture(scope="session")
def degraded(clip, tmp_path_factory):
    """Return a function (family, severity) -> path that degrades the MP4 clip; results are cached."""
    folder = tmp_path_factory.mktemp("degraded")
    made: dict[tuple[str, int], Path] = {}

    def make(family: str, severity: int) -> Path:
        if (family, severity) not in made:
            made[family, severity] = degrade(clip, folder, family, severity)
        return made[family, severity]

    return make
