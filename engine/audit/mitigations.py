"""Mitigations of shortcuts. Each is applied to all clips alike, regardless of their label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import soxr

from engine.audit.waveform_facts import DIGITAL_SILENCE, QUIET_DB, loud_part, read_audio
from utils.errors import UsageError
from utils.media.decode import ClipStream
from utils.media.mono import AudioBlock
from utils.media.writer import write_clip

RESAMPLE_HZ = 16_000
BAND_LIMIT_HZ = 7_000
LEVEL_RMS = 0.1
WINDOW_S = (0.5, 3.0)
"""Limits of the `fixed_window` length, which is the duration of the shortest clip clipped to this range."""

RE_ENCODED_FPS = 25
RE_ENCODED_SIZE_PX = 224
RE_ENCODED_AUDIO_BPS = 64_000

MITIGATIONS = {
    "remove_dc": "subtract the mean from all audio",
    "resample": "resample all audio to 16 kHz mono",
    "band_limit": "low-pass all audio at 7 kHz",
    "trim_silence": "trim leading and trailing silence from all audio",
    "level": "normalise all audio to the same RMS level",
    "fixed_window": "analyse windows of one fixed length instead of stretching mel-spectrograms to one width",
    "re_encode": "re-encode all clips with the same size, frame rate and codecs, and with audio exactly as long as the video",
}
"""Name -> description. They are applied in this order, except that `re_encode` comes first: it writes a new file."""


def check_mitigations(names: Sequence[str]) -> frozenset[str]:
    """Return the names as a set.

    Raises:
        UsageError: A name is unknown.
    """
    for name in names:
        if name not in MITIGATIONS:
            raise UsageError(f"there is no remedy {name!r}; choose from {', '.join(MITIGATIONS)}")
    return frozenset(names)


def mitigate_audio(
    samples: np.ndarray, rate_hz: int, mitigations: frozenset[str], window_s: float
) -> tuple[np.ndarray, int]:
    """Apply the audio mitigations.

    Args:
        samples: (S,) float32, S > 0.
        rate_hz: Sample rate of `samples`.
        mitigations: Names of `MITIGATIONS`; those that do not concern audio are ignored.
        window_s: Window length for `fixed_window`.

    Returns:
        The samples and their sample rate; an empty array if `trim_silence` removed everything.
    """
    if "remove_dc" in mitigations:
        samples = samples - samples.mean(dtype=np.float64).astype(np.float32)
    if "resample" in mitigations:
        samples, rate_hz = soxr.resample(samples, rate_hz, RESAMPLE_HZ, quality="HQ"), RESAMPLE_HZ
    if "band_limit" in mitigations and rate_hz > 2 * BAND_LIMIT_HZ:
        narrow = soxr.resample(samples, rate_hz, 2 * BAND_LIMIT_HZ, quality="VHQ")
        samples = soxr.resample(narrow, 2 * BAND_LIMIT_HZ, rate_hz, quality="VHQ")
    if "trim_silence" in mitigations and len(samples):
        level = np.abs(samples)
        begin, end = loud_part(level, max(float(level.max()) * 10 ** (QUIET_DB / 20), DIGITAL_SILENCE))
        samples = samples[begin:end]
    if "fixed_window" in mitigations and len(samples):
        samples = middle_window(samples, round(window_s * rate_hz))
    if "level" in mitigations and len(samples):
        rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
        samples = samples * np.float32(LEVEL_RMS / max(rms, 1e-9))
    return samples, rate_hz


def middle_window(samples: np.ndarray, length: int) -> np.ndarray:
    """Return the middle `length` samples. A shorter waveform is repeated, since padding would reveal its length."""
    samples = np.tile(samples, -(-length // len(samples)))
    begin = (len(samples) - length) // 2
    return samples[begin : begin + length]


def shared_window_s(durations_s: Sequence[float]) -> float:
    """Return the window length for a set of clips: the shortest duration, clipped to `WINDOW_S`."""
    return float(np.clip(min((d for d in durations_s if d > 0), default=WINDOW_S[1]), *WINDOW_S))


def re_encode(source: Path, target: Path) -> None:
    """Re-encode a clip with fixed size, frame rate, codec and quality, and audio cut or padded to the video's length.

    The frame rate is changed by repeating or dropping frames, the size by scaling without keeping the aspect ratio.

    Raises:
        MediaError: The clip cannot be read.
    """
    waveform, rate_hz = read_audio(source)
    frames = list(_at_one_rate(ClipStream(source, audio=False)))
    if rate_hz:
        waveform = soxr.resample(waveform, rate_hz, RESAMPLE_HZ, quality="HQ")
        if frames:
            length = round(len(frames) / RE_ENCODED_FPS * RESAMPLE_HZ)
            waveform = np.pad(waveform[:length], (0, max(0, length - len(waveform))))
    write_clip(
        target,
        frames or None,
        RE_ENCODED_FPS,
        waveform if rate_hz else None,
        RESAMPLE_HZ,
        audio_bit_rate=RE_ENCODED_AUDIO_BPS,
        video_options={"preset": "veryfast", "crf": "23"},
    )


def _at_one_rate(stream: ClipStream) -> Iterator[np.ndarray]:
    """Yield the frames at `RE_ENCODED_FPS`, scaled to `RE_ENCODED_SIZE_PX` square."""
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
