"""Voice features that describe how a spectrum moves, never its mean shape: blocks for one small model each.

Channel, loudness and speaker act on means; re-synthesis acts on the dynamics (spectral regression smooths them), on
the tails of their distribution and on the phase. Every block looks at 50 Hz - 7 kHz at most, whatever the clip's sample
rate, and at windows of a fixed length, whatever its duration.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from functools import cache
from pathlib import Path

import librosa
import numpy as np
import soxr
from scipy.fft import dct
from scipy.ndimage import uniform_filter1d

from utils.features.waveform import to_pcm16

VOICE_RATE_HZ = 16_000
"""Sample rate of everything that is said about a voice."""

VOICE_VERSION = 2
"""Raise it when the same sound would give other numbers than before."""

LONGEST_VOICE_S = 600
"""Only the beginning of a longer recording is looked at, so that its memory stays bounded."""

WINDOW_S = 2.0
HOP_S = 1.0
MAX_WINDOWS = 10
LEAST_VOICE_S = 1.0
"""Less sound than this is not judged, nor trained on: its features are mostly those of the padding."""

SHORTEST_S = 0.3
TRIM_DB = 35
ACTIVE_DB = 30
LEAST_ACTIVE_FRAMES = 20
FLOOR = 1e-5
BLOCK_SIZES = {"lfcc_7k": 60, "lfcc_5k5": 60, "mfcc_5k5": 60, "bands": 32, "tails": 32, "phase": 32}
VOICE_SIZE = sum(BLOCK_SIZES.values())
"""D, the length of a window's features: the blocks of `BLOCK_SIZES`, one after the other."""


def voice_of_pcm(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Describe a recording by the features of its windows.

    Args:
        samples: (S,) int16 mono. It has to be what a 16-bit wav file holds, so that a clip scores alike from the file and
            straight from the decoder.
        rate_hz: its sample rate.

    Returns:
        (W, D) float32, W <= `MAX_WINDOWS`; W = 0 for less than `LEAST_VOICE_S` of sound.
    """
    waveform = voice_waveform(samples, rate_hz)
    return describe(waveform) if long_enough(waveform) else np.zeros((0, VOICE_SIZE), np.float32)


def long_enough(waveform: np.ndarray) -> bool:
    """Whether a 16 kHz recording (S,) has enough sound to be judged."""
    return len(waveform) >= LEAST_VOICE_S * VOICE_RATE_HZ


def describe(waveform: np.ndarray, features: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """The features (W, D) float32 of a 16 kHz recording (S,): `voice_features`, or others, of its windows."""
    return np.stack([(features or voice_features)(window) for window in voice_windows(waveform)])


def voice_waveform(samples: np.ndarray, rate_hz: int, *, trim: bool = True) -> np.ndarray:
    """(S,) int16 mono at `rate_hz` as float32 in [-1, 1] at `VOICE_RATE_HZ`, no longer than `LONGEST_VOICE_S`.

    With `trim`, digital silence at both ends is cut off: a clip's sound may have been padded to the length of its pictures.
    """
    samples = samples[: LONGEST_VOICE_S * rate_hz]
    if trim:
        sounding = np.flatnonzero(samples)
        samples = samples[sounding[0] : sounding[-1] + 1] if len(sounding) else samples[:0]
    if len(samples) == 0:
        return np.zeros(0, np.float32)
    waveform = samples.astype(np.float32) / np.float32(32767)
    return waveform if rate_hz == VOICE_RATE_HZ else soxr.resample(waveform, rate_hz, VOICE_RATE_HZ)


class VoiceSamples:
    """Gathers a clip's samples block by block, as a wav file would hold them, up to the longest that is looked at."""

    def __init__(self, rate_hz: int) -> None:
        """Expect blocks at `rate_hz`."""
        self._rate_hz = rate_hz
        self._parts: list[np.ndarray] = []
        self._room = LONGEST_VOICE_S * rate_hz

    def keep(self, samples: np.ndarray) -> None:
        """Take (S,) float32 samples in."""
        part = to_pcm16(samples[: self._room])
        self._room -= len(part)
        self._parts.append(part)

    @property
    def pcm(self) -> np.ndarray:
        """(S,) int16, everything that was kept."""
        return np.concatenate([np.zeros(0, np.int16), *self._parts])


def pcm_of_wav(path: Path) -> tuple[np.ndarray, int]:
    """The samples (S,) int16 of a mono 16-bit wav file, up to the longest that is looked at, and their rate in Hz.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else, or holds no sample.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise ValueError(f"{path} is not mono 16-bit")
            rate_hz = file.getframerate()
            content = file.readframes(LONGEST_VOICE_S * rate_hz)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is not a wav file: {error}") from None
    samples = np.frombuffer(content[: len(content) // 2 * 2], "<i2")
    if len(samples) == 0:
        raise ValueError(f"{path} holds no sample")
    return samples, rate_hz


def trim_and_level(waveform: np.ndarray) -> np.ndarray:
    """Cut silence from both ends (35 dB under the loud parts) and set the active parts to an RMS of 0.1."""
    if len(waveform) < VOICE_RATE_HZ // 10:
        return waveform.astype(np.float32)
    power = uniform_filter1d(waveform.astype(np.float64) ** 2, 400)[::160] + 1e-12
    loud = np.flatnonzero(power > np.percentile(power, 95) * 10 ** (-TRIM_DB / 10))
    cut = waveform[max(0, loud[0] * 160 - 400) : loud[-1] * 160 + 400]
    power = uniform_filter1d(cut.astype(np.float64) ** 2, 400)[::160]
    active = power[power >= np.percentile(power, 95) * 1e-3]
    return (cut * 0.1 / np.sqrt(active.mean() + 1e-10)).astype(np.float32)


def voice_windows(waveform: np.ndarray) -> list[np.ndarray]:
    """Cut a 16 kHz waveform (S,) into at most `MAX_WINDOWS` evenly spread windows of `WINDOW_S` (shorter: one)."""
    sound = trim_and_level(waveform)
    width = int(WINDOW_S * VOICE_RATE_HZ)
    if len(sound) <= width:
        return [sound]
    count = min(MAX_WINDOWS, int(np.ceil((len(sound) - width) / (HOP_S * VOICE_RATE_HZ))) + 1)
    return [sound[start : start + width] for start in np.linspace(0, len(sound) - width, count).astype(int)]


def _linear_bank(filters: int, bins: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangular filters of equal width (filters, bins)."""
    hertz = np.linspace(0, VOICE_RATE_HZ / 2, bins)
    edges = np.linspace(low_hz, high_hz, filters + 2)
    step = edges[1] - edges[0]
    return np.maximum(0, np.minimum((hertz - edges[:-2, None]) / step, (edges[2:, None] - hertz) / step))


@cache
def _banks() -> dict[str, np.ndarray]:
    """The filterbanks by name, each (filters, 257)."""
    return {
        "lfcc_7k": _linear_bank(40, 257, 50, 7000),
        "lfcc_5k5": _linear_bank(40, 257, 50, 5500),
        "mfcc_5k5": librosa.filters.mel(sr=VOICE_RATE_HZ, n_fft=512, n_mels=40, fmin=50, fmax=5500, norm=None),
        "bands": _linear_bank(16, 257, 50, 5500),
    }


def _delta(series: np.ndarray) -> np.ndarray:
    """Five-point regression slope along the frames of (C, T)."""
    padded = np.pad(series, ((0, 0), (2, 2)), mode="edge")
    return (2 * (padded[:, 4:] - padded[:, :-4]) + padded[:, 3:-1] - padded[:, 1:-3]) / 10


def cepstral_dynamics(power: np.ndarray, bank: np.ndarray, floor: float, active: np.ndarray) -> np.ndarray:
    """Log standard deviation of 20 cepstra, their deltas and delta-deltas over the active frames (60,)."""
    cepstra = dct(np.log(bank @ power + floor), axis=0, norm="ortho")[:20]
    slope = _delta(cepstra)
    parts = [part[:, active].std(1) for part in (cepstra, slope, _delta(slope))]
    return np.log(np.concatenate(parts) + 1e-4)


def standardised_moment(values: np.ndarray, order: int) -> np.ndarray:
    """Mean of ((x - mean) / sd) ** order along the frames of (C, T); 0 where nothing varies."""
    centred = values - values.mean(1, keepdims=True)
    variance = (centred**2).mean(1)
    still = variance < 1e-12
    return np.where(still, 0.0, (centred**order).mean(1) / np.where(still, 1.0, variance) ** (order / 2))


def band_dynamics(log_bands: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Size of the first and second differences (32,), and kurtosis of changes with skew of levels (32,), per band."""
    first = np.diff(log_bands, axis=1)
    second = np.diff(first, axis=1)
    size = [np.abs(first[:, active[1:]]).mean(1), np.abs(second[:, active[1:-1]]).mean(1)]
    excess = standardised_moment(first[:, active[1:]], 4) - 3
    tails = [np.clip(excess, -2, 8), np.clip(standardised_moment(log_bands[:, active], 3), -3, 3)]
    return np.log(np.concatenate(size) + 1e-4), np.concatenate(tails)


def phase_regularity(window: np.ndarray, active: np.ndarray) -> np.ndarray:
    """How regular the second differences of phase are over time and frequency, in 8 bands up to 5.5 kHz (32,)."""
    spectrum = librosa.stft(window, n_fft=1024, hop_length=160, win_length=800)[:353]
    size = np.abs(spectrum)
    unit = spectrum / (size + 1e-12)
    over_time = unit[:, 2:] * np.conj(unit[:, 1:-1]) ** 2 * unit[:, :-2] * size[:, 1:-1]
    over_band = unit[2:] * np.conj(unit[1:-1]) ** 2 * unit[:-2] * size[1:-1]
    edges = np.linspace(4, 352, 9).astype(int)
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
    """Describe one window of 16 kHz voice (S,), padded to 0.3 s, by its blocks one after the other (D,) float32."""
    waveform = np.pad(waveform, (0, max(0, int(SHORTEST_S * VOICE_RATE_HZ) - len(waveform))))
    power = np.abs(librosa.stft(waveform, n_fft=512, hop_length=160, win_length=320)) ** 2
    floor = FLOOR * power.sum(0).mean() / power.shape[0] + 1e-12
    energy = power[2:224].sum(0)
    active = energy > np.percentile(energy, 95) * 10 ** (-ACTIVE_DB / 10)
    if active.sum() < LEAST_ACTIVE_FRAMES:
        active[:] = True
    banks = _banks()
    blocks = [cepstral_dynamics(power, banks[name], floor, active) for name in ("lfcc_7k", "lfcc_5k5", "mfcc_5k5")]
    blocks += band_dynamics(np.log(banks["bands"] @ power + floor), active)
    blocks.append(phase_regularity(waveform, active))
    return np.concatenate(blocks).astype(np.float32)
