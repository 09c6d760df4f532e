"""Add sensor and microphone noise to raw footage, set its loudness and encode it once.

All parameters are drawn from the same distributions for real and fake clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import soxr

from dataset.demo_set.forge import Footage
from dataset.demo_set.speech import SAMPLE_RATE_HZ
from utils.media.writer import write_clip


@dataclass(frozen=True)
class Delivery:
    """Recording and encoding parameters of one clip."""

    sensor_noise: float
    chroma_noise: float
    blur_px: float
    loudness_db: float
    microphone_snr_db: float
    bits_per_pixel: float
    sample_rate_hz: int
    channels: int
    audio_bit_rate: int
    profile: str
    preset: str
    key_frame_interval: int


def draw_delivery(group_rng: np.random.Generator, clip_rng: np.random.Generator) -> Delivery:
    """Draw the parameters of one clip, independently of its class.

    Discrete codec settings are drawn once per group. A real clip and its fakes therefore share them, and no setting can
    correlate with the class by chance. Continuous parameters are drawn per clip. Their variation masks the small
    differences in file size that a forgery causes.
    """
    return Delivery(
        sensor_noise=float(np.exp(clip_rng.uniform(np.log(0.8), np.log(3.5)))),
        chroma_noise=clip_rng.uniform(0.2, 0.7),
        blur_px=clip_rng.uniform(0.0, 0.6),
        loudness_db=clip_rng.uniform(-30, -17),
        microphone_snr_db=clip_rng.uniform(28, 52),
        bits_per_pixel=float(np.exp(clip_rng.uniform(np.log(0.25), np.log(1.2)))),
        sample_rate_hz=int(group_rng.choice([22_050, 32_000, 44_100, 48_000], p=[0.15, 0.15, 0.45, 0.25])),
        channels=int(group_rng.choice([1, 2], p=[0.6, 0.4])),
        audio_bit_rate=int(group_rng.choice([48_000, 64_000, 96_000])),
        profile=str(group_rng.choice(["baseline", "main", "high"])),
        preset=str(group_rng.choice(["ultrafast", "superfast"])),
        key_frame_interval=int(group_rng.choice([15, 30, 60, 250])),
    )


def deliver(path: Path, footage: Footage, fps: int, delivery: Delivery, rng: np.random.Generator) -> None:
    """Add noise to the footage and encode it once to H.264 and AAC."""
    waveform = record_audio(footage.samples, len(footage.frames) / fps, delivery, rng)
    write_clip(
        path,
        record_frames(footage.frames, delivery, rng),
        fps,
        waveform,
        delivery.sample_rate_hz,
        video_bit_rate=round(delivery.bits_per_pixel * footage.frames[0][..., 0].size * fps),
        audio_bit_rate=delivery.audio_bit_rate,
        video_options={
            "profile": delivery.profile,
            "preset": delivery.preset,
            "g": str(delivery.key_frame_interval),
            # A key frame at each detected cut would mark the spliced clips in the container.
            "sc_threshold": "0",
            # With the macroblock tree enabled, the output of x264 differs between runs.
            "mbtree": "0",
        },
        # The default coder takes ten times as long, with no audible gain on synthetic speech.
        audio_options={"aac_coder": "fast"},
    )


def record_frames(frames: list[np.ndarray], delivery: Delivery, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the frames with lens blur and sensor noise, uint8 RGB."""
    height, width = frames[0].shape[:2]
    field = _noise_field(2 * height, 2 * width, delivery, rng)
    # Random windows of one large noise field look like fresh noise and are much cheaper.
    corners = rng.integers(0, (height, width), (len(frames), 2)).tolist()
    for frame, (top, left) in zip(frames, corners, strict=True):
        seen = cv2.GaussianBlur(frame, (3, 3), delivery.blur_px) if delivery.blur_px > 0.2 else frame
        yield cv2.add(seen, field[top : top + height, left : left + width], dtype=cv2.CV_8U)


def _noise_field(height: int, width: int, delivery: Delivery, rng: np.random.Generator) -> np.ndarray:
    """Return fine luminance noise plus coarser colour noise, (height, width, 3) float32 in grey levels."""
    luma = rng.standard_normal((height, width, 1), dtype=np.float32)
    chroma = cv2.resize(rng.standard_normal((height // 2, width // 2, 3), dtype=np.float32), (width, height))
    return np.float32(delivery.sensor_noise) * (luma + np.float32(delivery.chroma_noise) * chroma)


def record_audio(samples: np.ndarray, duration_s: float, delivery: Delivery, rng: np.random.Generator) -> np.ndarray:
    """Resample to the file's rate, add microphone noise and set the loudness. The result is exactly as long as the video.

    Returns:
        (S, channels) float32 with S = duration times rate.
    """
    length = round(duration_s * delivery.sample_rate_hz)
    sound = soxr.resample(samples, SAMPLE_RATE_HZ, delivery.sample_rate_hz, quality="HQ")[:length]
    sound = np.pad(sound, (0, length - len(sound)))
    sound = sound / (np.sqrt(np.mean(sound**2)) + 1e-6)
    white = rng.standard_normal(length)
    hum = np.convolve(white, np.ones(4) / 2, mode="same")
    sound = sound + 10 ** (-delivery.microphone_snr_db / 20) * hum
    sound = sound * 10 ** (delivery.loudness_db / 20) / np.sqrt(np.mean(sound**2))
    sound = sound * min(1.0, 0.98 / np.max(np.abs(sound)))
    return np.repeat(sound[:, None].astype(np.float32), delivery.channels, axis=1)
