"""What a waveform says before anybody listens: silence at its ends, loudness, and where its band ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import welch

from utils.media.decode import AudioBlock, ClipStream

MAX_AUDIO_S = 600.0
"""Longer sound is cut here, so that a clip costs no more than some 100 MB of memory."""

DIGITAL_SILENCE = 0.5 / 32768
"""Below half a step of 16 bits a sample counts as digital silence."""

QUIET_DB = -60.0
"""Relative to the loudest sample: quieter counts as silence."""

FLOOR_DB = -130.0
"""Levels are cut off here; below it are rounding errors of decoders and resamplers, in dB relative to full scale."""

BAND_EDGES_HZ = (8_000, 11_000, 16_000)
BAND_FLOOR_DB = -80.0
"""A frequency counts as inside the band while its density is above this, relative to the strongest frequency."""

SEGMENT_S = 0.04

SoundFacts = dict[str, float | str]
"""Fact -> value; all of these are numbers, but they travel with a container's facts, some of which are text."""


def read_sound(path: Path) -> tuple[np.ndarray, int]:
    """The first `MAX_AUDIO_S` of a clip's sound: (S,) float32, mean of the channels, and its rate; (0,) and 0 without.

    Raises:
        MediaError: `missing_file` or `unreadable`.
    """
    stream = ClipStream(path, video=False)
    blocks = []
    for block in stream:
        if isinstance(block, AudioBlock):
            blocks.append(block.samples)
        if stream.facts.audio_s >= MAX_AUDIO_S:
            break
    return (np.concatenate(blocks), stream.facts.rate_hz) if blocks else (np.empty(0, np.float32), 0)


def silence_facts(samples: np.ndarray, rate_hz: int) -> dict[str, SoundFacts]:
    """Leading and trailing silence in seconds, digital and `QUIET_DB` below the peak.

    Args:
        samples: (S,) float in [-1, 1], S > 0. A waveform that is silent throughout leads and trails with all of it.
        rate_hz: its sample rate.
    """
    level = np.abs(samples)
    leading: SoundFacts = {}
    trailing: SoundFacts = {}
    quiet = max(float(level.max()) * 10 ** (QUIET_DB / 20), DIGITAL_SILENCE)
    for name, threshold in (("digital", DIGITAL_SILENCE), ("quiet", quiet)):
        begin, end = loud_part(level, threshold)
        leading[f"leading_{name}_s"] = begin / rate_hz
        trailing[f"trailing_{name}_s"] = (len(level) - end) / rate_hz
    return {"leading silence": leading, "trailing silence": trailing}


def loud_part(level: np.ndarray, threshold: float) -> tuple[int, int]:
    """First and one past the last sample of (S,) `level` above the threshold; (S, 0) when there is none."""
    loud = level > threshold
    if not loud.any():
        return len(level), 0
    return int(loud.argmax()), len(level) - int(loud[::-1].argmax())


def level_facts(samples: np.ndarray) -> dict[str, SoundFacts]:
    """Loudness, the RMS level in dB relative to full scale; and the crest factor, the peak's distance from it in dB.

    They are two families: a gain changes the first and never the second, which is a matter of the waveform's shape.
    """
    rms_db = decibels(float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))))
    peak_db = decibels(float(np.abs(samples).max()))
    return {"loudness": {"rms_db": rms_db}, "crest factor": {"crest_db": peak_db - rms_db}}


def band_facts(samples: np.ndarray, rate_hz: int) -> SoundFacts:
    """Where the band ends in Hz, and the level above each of `BAND_EDGES_HZ` in dB relative to full scale.

    The spectrum is the mean over the whole waveform (Welch), so that the loudest moments decide.
    """
    segment = min(len(samples), round(SEGMENT_S * rate_hz))
    frequency_hz, density = welch(samples, rate_hz, "hann", nperseg=segment)
    inside = density > max(float(density.max()) * 10 ** (BAND_FLOOR_DB / 10), 1e-20)
    facts: SoundFacts = {"band_end_hz": float(frequency_hz[inside].max()) if inside.any() else 0.0}
    step_hz = rate_hz / segment
    for edge_hz in BAND_EDGES_HZ:
        power = float(density[frequency_hz >= edge_hz].sum()) * step_hz
        facts[f"above_{edge_hz // 1000}_khz_db"] = decibels(np.sqrt(power))
    return facts


def decibels(amplitude: float) -> float:
    """An amplitude in dB relative to 1, not below `FLOOR_DB`."""
    return max(20 * float(np.log10(max(amplitude, 1e-12))), FLOOR_DB)
