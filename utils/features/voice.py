"""Voice features: statistics of the dynamics of the short-time spectrum, in blocks. Each block is the input of a small model.

The mean spectrum is not used, because channel, loudness and speaker affect it. Re-synthesis affects the dynamics
(spectral regression smooths them), the tails of their distribution, and the phase. Every block uses at most 50 Hz to
7 kHz, independent of the sample rate, and windows of fixed length, independent of the duration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from utils.features.base import FEATURES, ArraySpec, Feature
from utils.features.clip import ClipFacts
from utils.features.spectra import cosine_basis, mel_filterbank, moving_mean, stft
from utils.features.waveform import LONGEST_PCM_S, Pcm

VOICE_RATE_HZ = 16_000
"""Sample rate of every speech feature."""

VOICE_VERSION = 2
"""Increase this if the same waveform gives different values than before."""

WINDOW_S = 2.0
WINDOW_HOP_S = 1.0
MAX_WINDOWS = 10
LEAST_VOICE_S = 1.0
"""Shorter waveforms are not used for scoring or training. Their features would mostly describe the padding."""

SHORTEST_S = 0.3

HOP = VOICE_RATE_HZ // 100
"""Samples from one spectrum to the next: 10 ms."""

N_FFT, FFT_WINDOW = 512, VOICE_RATE_HZ // 50
"""Magnitude spectra: bins of 31.25 Hz, windows of 20 ms."""

N_BINS = N_FFT // 2 + 1
PHASE_FFT, PHASE_WINDOW = 1024, VOICE_RATE_HZ // 20
"""Phase spectra: bins of 15.625 Hz, windows of 50 ms."""

PHASE_BINS = 5_500 * PHASE_FFT // VOICE_RATE_HZ + 1
"""Bins up to 5.5 kHz."""

PHASE_BANDS = 8
LOWEST_PHASE_BIN = 4
SPEECH_BINS = slice(2, 7_000 * N_FFT // VOICE_RATE_HZ)
"""Bins from 62.5 Hz to 7 kHz. Their energy determines the active frames."""

TRIM_DB = 35
TRIM_MARGIN = VOICE_RATE_HZ // 40
"""Samples kept on both sides of the trimmed waveform, and the width of the power average: 25 ms."""

ACTIVE_DB = 30
LEAST_ACTIVE_FRAMES = 20
FLOOR = 1e-5
CEPSTRA = 20
BLOCK_SIZES = {"lfcc_7k": 60, "lfcc_5k5": 60, "mfcc_5k5": 60, "bands": 32, "tails": 32, "phase": 32}
VOICE_SIZE = sum(BLOCK_SIZES.values())
"""D, the length of a window's features: the concatenated blocks of `BLOCK_SIZES`."""


@FEATURES.register("voice", bool)
class VoiceFeature(Feature):
    """The voice features of a clip's windows, derived from the waveform. Its value is (W, D) float32."""

    name, key, fed, inputs = "voice", "voice", ("waveform",), ("voice",)

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Declare one array: (`MAX_WINDOWS`, D) float32 with a mask over windows."""
        return (ArraySpec("voice", (MAX_WINDOWS, VOICE_SIZE), np.float32, padded=True),)

    def to_arrays(self, value: Any, facts: ClipFacts) -> Mapping[str, np.ndarray | None]:
        """Return the windows, or `None` for a silent track."""
        return {"voice": None if "silent" in facts.reasons else value}

    def derive(self, sources: Mapping[str, Any], cache_dir: Path | None) -> Any:
        """Compute the features of the waveform's windows."""
        pcm: Pcm = sources["waveform"]
        return voice_of_pcm(pcm.samples, pcm.rate_hz)


def voice_of_pcm(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Compute the voice features of a waveform's windows.

    Args:
        samples: (S,) int16 mono, as stored in a 16-bit WAV file. Stored and decoded waveforms therefore give equal scores.
        rate_hz: sample rate.

    Returns:
        (W, D) float32 with W <= `MAX_WINDOWS`; W = 0 for a waveform shorter than `LEAST_VOICE_S`.
    """
    waveform = voice_waveform(samples, rate_hz)
    return window_features(waveform) if long_enough(waveform) else np.zeros((0, VOICE_SIZE), np.float32)


def long_enough(waveform: np.ndarray) -> bool:
    """Return whether a 16 kHz waveform (S,) is long enough to be scored."""
    return len(waveform) >= LEAST_VOICE_S * VOICE_RATE_HZ


def window_features(waveform: np.ndarray, features: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """Apply `features` (default: `voice_features`) to each window of a 16 kHz waveform (S,); return (W, D) float32."""
    return np.stack([(features or voice_features)(window) for window in voice_windows(waveform)])


def voice_waveform(samples: np.ndarray, rate_hz: int, *, trim: bool = True) -> np.ndarray:
    """Convert (S,) int16 mono at `rate_hz` to float32 in [-1, 1] at `VOICE_RATE_HZ`, at most `LONGEST_PCM_S` long.

    With `trim`, digital silence at both ends is removed, since the waveform may be padded to the duration of the video.
    """
    samples = samples[: LONGEST_PCM_S * rate_hz]
    if trim:
        sounding = np.flatnonzero(samples)
        samples = samples[sounding[0] : sounding[-1] + 1] if len(sounding) else samples[:0]
    if len(samples) == 0:
        return np.zeros(0, np.float32)
    waveform = samples.astype(np.float32) / np.float32(32767)
    return waveform if rate_hz == VOICE_RATE_HZ else soxr.resample(waveform, rate_hz, VOICE_RATE_HZ)


def trim_and_scale(waveform: np.ndarray) -> np.ndarray:
    """Remove silence (35 dB below the loud parts) from both ends and scale the active parts to an RMS of 0.1."""
    if len(waveform) < VOICE_RATE_HZ // 10:
        return waveform.astype(np.float32)
    cut = waveform[loud_part(waveform)]
    return (cut * 0.1 / np.sqrt(active_power(cut) + 1e-10)).astype(np.float32)


def active_power(waveform: np.ndarray) -> float:
    """Return the mean power of the active parts of a trimmed waveform (S,); full scale is 1."""
    power = moving_mean(waveform.astype(np.float64) ** 2, TRIM_MARGIN, hop=HOP)
    return power[power >= np.percentile(power, 95) * 1e-3].mean()


def speech_level_db(waveform: np.ndarray) -> float:
    """Return the level of the active parts of a waveform (S,), S >= 1,600, in dB relative to full scale."""
    return float(10 * np.log10(active_power(waveform[loud_part(waveform)]) + 1e-12))


def loud_part(waveform: np.ndarray) -> slice:
    """Return the samples of a waveform (S,), S >= 1,600, between the silence at both ends, see `trim_and_scale`."""
    power = moving_mean(waveform.astype(np.float64) ** 2, TRIM_MARGIN, hop=HOP) + 1e-12
    loud = np.flatnonzero(power > np.percentile(power, 95) * 10 ** (-TRIM_DB / 10))
    return slice(max(0, loud[0] * HOP - TRIM_MARGIN), loud[-1] * HOP + TRIM_MARGIN)


def voice_windows(waveform: np.ndarray) -> list[np.ndarray]:
    """Split a 16 kHz waveform (S,) into at most `MAX_WINDOWS` evenly spaced windows of `WINDOW_S`."""
    active = trim_and_scale(waveform)
    width = int(WINDOW_S * VOICE_RATE_HZ)
    if len(active) <= width:
        return [active]
    count = min(MAX_WINDOWS, int(np.ceil((len(active) - width) / (WINDOW_HOP_S * VOICE_RATE_HZ))) + 1)
    return [active[start : start + width] for start in np.linspace(0, len(active) - width, count).astype(int)]


def _linear_bank(filters: int, bins: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Return triangular filters of equal width (filters, bins)."""
    hertz = np.linspace(0, VOICE_RATE_HZ / 2, bins)
    edges = np.linspace(low_hz, high_hz, filters + 2)
    step = edges[1] - edges[0]
    return np.maximum(0, np.minimum((hertz - edges[:-2, None]) / step, (edges[2:, None] - hertz) / step))


@cache
def _banks() -> dict[str, np.ndarray]:
    """Return the filterbanks by name, each (filters, `N_BINS`)."""
    return {
        "lfcc_7k": _linear_bank(40, N_BINS, 50, 7000),
        "lfcc_5k5": _linear_bank(40, N_BINS, 50, 5500),
        "mfcc_5k5": mel_filterbank(VOICE_RATE_HZ, N_FFT, 40, low_hz=50, high_hz=5500, equal_area=False),
        "bands": _linear_bank(16, N_BINS, 50, 5500),
    }


def _delta(series: np.ndarray) -> np.ndarray:
    """Return the five-point regression slope along the frames of (C, T)."""
    padded = np.pad(series, ((0, 0), (2, 2)), mode="edge")
    return (2 * (padded[:, 4:] - padded[:, :-4]) + padded[:, 3:-1] - padded[:, 1:-3]) / 10


def cepstral_dynamics(power: np.ndarray, bank: np.ndarray, floor: float, active: np.ndarray) -> np.ndarray:
    """Return the log standard deviation of 20 cepstra, their deltas and delta-deltas over the active frames (60,)."""
    cepstra = cosine_basis(CEPSTRA, len(bank)) @ np.log(bank @ power + floor)
    slope = _delta(cepstra)
    parts = [part[:, active].std(1) for part in (cepstra, slope, _delta(slope))]
    return np.log(np.concatenate(parts) + 1e-4)


def standardised_moment(values: np.ndarray, order: int) -> np.ndarray:
    """Return the mean of ((x - mean) / sd) ** order along the frames of (C, T); 0 for a constant row."""
    centred = values - values.mean(1, keepdims=True)
    variance = (centred**2).mean(1)
    still = variance < 1e-12
    return np.where(still, 0.0, (centred**order).mean(1) / np.where(still, 1.0, variance) ** (order / 2))


def band_dynamics(log_bands: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return statistics of each band over the active frames: differences over time (32,), and shape of distributions (32,).

    The first array contains the log mean magnitudes of the first and second differences. The second contains the kurtosis
    of the first differences and the skew of the levels.
    """
    first = np.diff(log_bands, axis=1)
    second = np.diff(first, axis=1)
    size = [np.abs(first[:, active[1:]]).mean(1), np.abs(second[:, active[1:-1]]).mean(1)]
    excess = standardised_moment(first[:, active[1:]], 4) - 3
    tails = [np.clip(excess, -2, 8), np.clip(standardised_moment(log_bands[:, active], 3), -3, 3)]
    return np.log(np.concatenate(size) + 1e-4), np.concatenate(tails)


def phase_regularity(window: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Measure the regularity of second phase differences over time and frequency, in 8 bands up to 5.5 kHz (32,)."""
    spectrum = stft(window, n_fft=PHASE_FFT, hop=HOP, window=PHASE_WINDOW)[:PHASE_BINS]
    size = np.abs(spectrum)
    unit = spectrum / (size + 1e-12)
    over_time = unit[:, 2:] * np.conj(unit[:, 1:-1]) ** 2 * unit[:, :-2] * size[:, 1:-1]
    over_band = unit[2:] * np.conj(unit[1:-1]) ** 2 * unit[:-2] * size[1:-1]
    edges = np.linspace(LOWEST_PHASE_BIN, PHASE_BINS - 1, PHASE_BANDS + 1).astype(int)
    values = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        for field, weight, frames in (
            (over_time[low:high], size[low:high, 1:-1], active[1:-1]),
            (over_band[low:high], size[1:-1][low:high], active),
        ):
            frame_regularity = np.abs(field.sum(0)) / (weight.sum(0) + 1e-9)
            values += [frame_regularity[frames].mean(), field.sum().real / (weight.sum() + 1e-9)]
    return np.nan_to_num(np.array(values))


def voice_features(waveform: np.ndarray) -> np.ndarray:
    """Compute the features (D,) float32 of one 16 kHz window (S,), padded to `SHORTEST_S`. The blocks are concatenated."""
    waveform = np.pad(waveform, (0, max(0, int(SHORTEST_S * VOICE_RATE_HZ) - len(waveform))))
    power = np.abs(stft(waveform, n_fft=N_FFT, hop=HOP, window=FFT_WINDOW)) ** 2
    floor = FLOOR * power.sum(0).mean() / power.shape[0] + 1e-12
    energy = power[SPEECH_BINS].sum(0)
    active = energy > np.percentile(energy, 95) * 10 ** (-ACTIVE_DB / 10)
    if active.sum() < LEAST_ACTIVE_FRAMES:
        active[:] = True
    banks = _banks()
    blocks = [cepstral_dynamics(power, banks[name], floor, active) for name in ("lfcc_7k", "lfcc_5k5", "mfcc_5k5")]
    blocks += band_dynamics(np.log(banks["bands"] @ power + floor), active)
    blocks.append(phase_regularity(waveform, active))
    return np.concatenate(blocks).astype(np.float32)
