"""What the project offers against a shortcut, applied to every clip alike, whatever its label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import soxr

from engine.audit.sound import DIGITAL_SILENCE, QUIET_DB, loud_part, read_sound
from utils.errors import UsageError
from utils.media.decode import AudioBlock, ClipStream
from utils.media.writer import write_clip

RESAMPLE_HZ = 16_000
BAND_LIMIT_HZ = 7_000
LEVEL_RMS = 0.1
WINDOW_S = (0.5, 3.0)
"""Shortest and longest window that `fixed_window` cuts; in between it is as long as the set's shortest clip."""

RE_ENCODED_FPS = 25
RE_ENCODED_SIZE_PX = 224
RE_ENCODED_AUDIO_BPS = 64_000

REMEDIES = {
    "resample": "resample all audio to 16 kHz mono",
    "band_limit": "low-pass all audio at 7 kHz",
    "trim_silence": "cut leading and trailing silence off all audio",
    "level": "bring all audio to one RMS level",
    "fixed_window": "analyse windows of one fixed length instead of mels stretched to one width",
    "re_encode": "re-encode all clips alike: size, frame rate, codecs, and audio exactly as long as the video",
}
"""Name -> what it does. The order is that of application; `re_encode` comes first since it makes a new file."""


def check_remedies(names: Sequence[str]) -> frozenset[str]:
    """The names as a set.

    Raises:
        UsageError: an unknown name.
    """
    for name in names:
        if name not in REMEDIES:
            raise UsageError(f"there is no remedy {name!r}; there are {', '.join(REMEDIES)}")
    return frozenset(names)


def treat_audio(samples: np.ndarray, rate_hz: int, remedies: frozenset[str], window_s: float) -> tuple[np.ndarray, int]:
    """Apply the remedies that concern sound.

    Args:
        samples: (S,) float32, S > 0.
        rate_hz: sample rate of `samples`.
        remedies: names; those that do not concern sound are passed over.
        window_s: length of the window for `fixed_window`.

    Returns:
        The samples and their rate; no samples when nothing but silence was there to be trimmed.
    """
    if "resample" in remedies:
        samples, rate_hz = soxr.resample(samples, rate_hz, RESAMPLE_HZ, quality="HQ"), RESAMPLE_HZ
    if "band_limit" in remedies and rate_hz > 2 * BAND_LIMIT_HZ:
        narrow = soxr.resample(samples, rate_hz, 2 * BAND_LIMIT_HZ, quality="VHQ")
        samples = soxr.resample(narrow, 2 * BAND_LIMIT_HZ, rate_hz, quality="VHQ")
    if "trim_silence" in remedies and len(samples):
        level = np.abs(samples)
        begin, end = loud_part(level, max(float(level.max()) * 10 ** (QUIET_DB / 20), DIGITAL_SILENCE))
        samples = samples[begin:end]
    if "fixed_window" in remedies and len(samples):
        samples = middle_window(samples, round(window_s * rate_hz))
    if "level" in remedies and len(samples):
        rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
        samples = samples * np.float32(LEVEL_RMS / max(rms, 1e-9))
    return samples, rate_hz


def middle_window(samples: np.ndarray, length: int) -> np.ndarray:
    """The middle `length` samples; a shorter waveform is repeated, since padding would tell its length."""
    samples = np.tile(samples, -(-length // len(samples)))
    begin = (len(samples) - length) // 2
    return samples[begin : begin + length]


def shared_window_s(durations_s: Sequence[float]) -> float:
    """The window for a set of clips: as long as the shortest of them, within `WINDOW_S`."""
    return float(np.clip(min((d for d in durations_s if d > 0), default=WINDOW_S[1]), *WINDOW_S))


def re_encode(source: Path, target: Path) -> None:
    """Write a clip anew: one size, frame rate, codec and quality for all, and audio cut or padded to the video's length.

    The frame rate is changed by repeating or leaving out frames, the size by scaling without regard to proportions.

    Raises:
        MediaError: the clip cannot be read.
    """
    waveform, rate_hz = read_sound(source)
    pictures = list(_at_one_rate(ClipStream(source, audio=False)))
    if rate_hz:
        waveform = soxr.resample(waveform, rate_hz, RESAMPLE_HZ, quality="HQ")
        if pictures:
            length = round(len(pictures) / RE_ENCODED_FPS * RESAMPLE_HZ)
            waveform = np.pad(waveform[:length], (0, max(0, length - len(waveform))))
    write_clip(
        target,
        pictures or None,
        RE_ENCODED_FPS,
        waveform if rate_hz else None,
        RESAMPLE_HZ,
        audio_bit_rate=RE_ENCODED_AUDIO_BPS,
        video_options={"preset": "veryfast", "crf": "23"},
    )


def _at_one_rate(stream: ClipStream) -> Iterator[np.ndarray]:
    """The frames at `RE_ENCODED_FPS` and `RE_ENCODED_SIZE_PX` square."""
    due = 0
    for index, frame in enumerate(stream):
        if isinstance(frame, AudioBlock):
            continue
        fps = stream.facts.fps or RE_ENCODED_FPS
        copies = max(0, round((index + 1) * RE_ENCODED_FPS / fps) - due)
        if copies:
            small = cv2.resize(frame, (RE_ENCODED_SIZE_PX, RE_ENCODED_SIZE_PX), interpolation=cv2.INTER_AREA)
            yield from [small] * copies
            due += copies
