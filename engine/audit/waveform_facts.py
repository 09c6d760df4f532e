"""Content-independent facts of a waveform: leading and trailing silence, loudness, DC offset, crest factor and bandwidth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import welch

from utils.features.resampling import whole_waveform
from utils.media.decode import ClipStream
from utils.media.mono import AudioBlock

MAX_AUDIO_S = 600.0
"""Longer audio is truncated, which bounds memory to about 100 MB per clip."""

DIGITAL_SILENCE = 0.5 / 32768
"""Amplitude below which a sample counts as digital silence: half a 16-bit step."""

QUIET_DB = -60.0
"""Level, relative to the loudest sample, below which a sample counts as silence."""

FLOOR_DB = -130.0
"""Lowest reported level, in dB relative to full scale. Lower levels are rounding errors of decoders and resamplers."""

BAND_EDGES_HZ = (8_000, 11_000, 16_000)
BAND_FLOOR_DB = -80.0
"""Spectral density, relative to the strongest frequency, above which a frequency is inside the band."""

SEGMENT_S = 0.04

AudioFacts = dict[str, float | str]
"""Fact -> value. All audio facts are numbers; text occurs only in container facts, which share this type."""


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """Decode up to `MAX_AUDIO_S` of a clip's audio.

    Returns:
        (S,) float32 mono waveform and its sample rate; (0,) and 0 for a clip without audio.

    Raises:
        MediaError: see `open_clip`.
    """
    stream = ClipStream(path, video=False)
    blocks = []
    for block in stream:
        if isinstance(block, AudioBlock):
            blocks.append(block)
        if stream.facts.audio_s >= MAX_AUDIO_S:
            break
    return whole_waveform(blocks)


def silence_facts(samples: np.ndarray, rate_hz: int) -> dict[str, AudioFacts]:
    """Measure leading and trailing silence in seconds: digital silence, and levels `QUIET_DB` below the peak.

    Args:
        samples: (S,) float in [-1, 1], S > 0. If all samples are silent, both durations equal the full length.
        rate_hz: Sample rate.
    """
    level = np.abs(samples)
    leading: AudioFacts = {}
    trailing: AudioFacts = {}
    quiet = max(float(level.max()) * 10 ** (QUIET_DB / 20), DIGITAL_SILENCE)
    for name, threshold in (("digital", DIGITAL_SILENCE), ("quiet", quiet)):
        begin, end = loud_part(level, threshold)
        leading[f"leading_{name}_s"] = begin / rate_hz
        trailing[f"trailing_{name}_s"] = (len(level) - end) / rate_hz
    return {"leading silence": leading, "trailing silence": trailing}


def loud_part(level: np.ndarray, threshold: float) -> tuple[int, int]:
    """Return the index range [first, end) of the part of (S,) `level` above the threshold; (S, 0) if there is none."""
    loud = level > threshold
    if not loud.any():
        return len(level), 0
    return int(loud.argmax()), len(level) - int(loud[::-1].argmax())


def level_facts(samples: np.ndarray) -> dict[str, AudioFacts]:
    """Measure loudness (RMS level in dB relative to full scale) and crest factor (peak minus RMS level in dB).

    They are separate families because a gain changes the loudness but not the crest factor.
    """
    rms_db = decibels(float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))))
    peak_db = decibels(float(np.abs(samples).max()))
    return {"loudness": {"rms_db": rms_db}, "crest factor": {"crest_db": peak_db - rms_db}}


def offset_facts(samples: np.ndarray) -> AudioFacts:
    """Measure the DC offset: the mean of the samples, with its sign, and its size in dB relative to full scale."""
    mean = float(np.mean(samples, dtype=np.float64))
    return {"offset": mean, "offset_db": decibels(abs(mean))}


def band_facts(samples: np.ndarray, rate_hz: int) -> AudioFacts:
    """Measure the upper band edge in Hz and the level above each of `BAND_EDGES_HZ` in dB relative to full scale.

    The spectrum is averaged over the whole waveform (Welch's method), so the loudest parts dominate.
    """
    segment = min(len(samples), round(SEGMENT_S * rate_hz))
    frequency_hz, density = welch(samples, rate_hz, "hann", nperseg=segment)
    inside = density > max(float(density.max()) * 10 ** (BAND_FLOOR_DB / 10), 1e-20)
    facts: AudioFacts = {"band_end_hz": float(frequency_hz[inside].max()) if inside.any() else 0.0}
    step_hz = rate_hz / segment
    for edge_hz in BAND_EDGES_HZ:
        power = float(density[frequency_hz >= edge_hz].sum()) * step_hz
        facts[f"above_{edge_hz // 1000}_khz_db"] = decibels(np.sqrt(power))
    return facts


def decibels(amplitude: float) -> float:
    """Convert an amplitude to dB relative to 1, with a floor of `FLOOR_DB`."""
    return max(20 * float(np.log10(max(amplitude, 1e-12))), FLOOR_DB)
