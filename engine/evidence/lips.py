"""Mouth and loudness over time. A coarse view for people; the sync expert uses far more of the mouth and the speech."""

from __future__ import annotations

import numpy as np

from engine.evidence.types import LipsView
from utils.features.face.features import MOUTH_HZ
from utils.features.waveform import Pcm

INSIDE = (slice(9, 17), slice(8, 20))
"""Rows and columns of the mouth series around the line between the lips."""

MAX_LAG = 10
LEAST_FRAMES = 2 * MOUTH_HZ
"""Shorter series have no meaningful correlation."""

FLOOR_DB = -60.0


def lips_view(mouth: np.ndarray, start_s: float, pcm: Pcm, audio_start_s: float) -> LipsView | None:
    """Compare a mouth with the loudness.

    Args:
        mouth: (T, 24, 28) uint8 grey levels at `MOUTH_HZ`.
        start_s: time of the first mouth frame.
        pcm: the waveform.
        audio_start_s: time of its first sample, on the same clock.

    Returns:
        The series and their correlation; `None` for a short mouth series, a still mouth, or silence.
    """
    count = len(mouth)
    if count < LEAST_FRAMES:
        return None
    grey = mouth.astype(np.float64)
    opening = standardised(grey.mean(axis=(1, 2)) - grey[:, INSIDE[0], INSIDE[1]].mean(axis=(1, 2)))
    times_s = start_s + np.arange(count) / MOUTH_HZ
    around_s = start_s - audio_start_s + (np.arange(count + 2 * MAX_LAG) - MAX_LAG) / MOUTH_HZ
    level = loudness_db(pcm, around_s)
    loudness = standardised(level[MAX_LAG : MAX_LAG + count])
    if opening is None or loudness is None:
        return None
    correlation = [correlated(opening, level[shift : shift + count]) for shift in range(2 * MAX_LAG + 1)]
    lags_s = (np.arange(2 * MAX_LAG + 1) - MAX_LAG) / MOUTH_HZ
    return LipsView(times_s, opening, loudness, lags_s, np.array(correlation))


def loudness_db(pcm: Pcm, times_s: np.ndarray) -> np.ndarray:
    """Return the level of a waveform in decibels in a window of two mouth frames around each time, at least `FLOOR_DB`."""
    half = round(pcm.rate_hz / MOUTH_HZ)
    power = np.concatenate([[0.0], np.cumsum(np.square(pcm.samples / 32767.0))])
    middle = np.round(times_s * pcm.rate_hz).astype(int)
    low, high = (np.clip(middle + side * half, 0, len(pcm.samples)) for side in (-1, 1))
    mean = (power[high] - power[low]) / np.maximum(high - low, 1)
    return np.maximum(10 * np.log10(np.maximum(mean, 1e-12)), FLOOR_DB)


def standardised(series: np.ndarray) -> np.ndarray | None:
    """Return a series with zero mean and unit variance; `None` for a constant one."""
    spread = series.std()
    return None if spread < 1e-6 else (series - series.mean()) / spread


def correlated(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two series; 0 if one is constant."""
    spread = one.std() * other.std()
    return 0.0 if spread < 1e-9 else float(((one - one.mean()) * (other - other.mean())).mean() / spread)
