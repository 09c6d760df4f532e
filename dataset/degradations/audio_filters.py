"""Filters for waveforms. Each takes a waveform, its sample rate, a level and a random generator and returns a new waveform.

Waveforms are (S,) float32, nominally in [-1, 1]; length and rate stay the same. Only `add_noise` and `reverb` use the
generator. A result that exceeds [-1, 1] is scaled down as a whole, because clipping would be a second degradation.
"""

from __future__ import annotations

import librosa
import numpy as np
import scipy.signal
import soxr

TELEPHONE_RATE_HZ = 8000
MU = 255.0
BANDPASS_ORDER = 4

VOCODER_WINDOW = 2048

DECAY_DB = 60.0
TAIL_LAG_S = 0.005
DIRECT_TO_REVERBERANT_DB = 3.0


def add_noise(waveform: np.ndarray, rate_hz: int, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise `snr_db` below the power of the waveform. Silence stays unchanged."""
    noise = rng.standard_normal(len(waveform), dtype=np.float32)
    noise *= np.float32(_rms(waveform) / max(_rms(noise), 1e-12) * 10 ** (-snr_db / 20))
    return _within_full_scale(waveform + noise)


def reverb(waveform: np.ndarray, rate_hz: int, rt60_s: float, rng: np.random.Generator) -> np.ndarray:
    """Add a reverberation tail: white noise 5 ms after and 3 dB below the direct sound, decaying by 60 dB in `rt60_s`.

    The direct sound keeps its position, and the waveform keeps its RMS. The tail beyond the end is cut off.
    """
    lag = round(TAIL_LAG_S * rate_hz)
    times_s = np.arange(max(round(rt60_s * rate_hz), 1)) / rate_hz
    tail = rng.standard_normal(len(times_s)) * 10 ** (-DECAY_DB / 20 * times_s / rt60_s)
    tail *= 10 ** (-DIRECT_TO_REVERBERANT_DB / 20) / np.sqrt(np.sum(tail**2))
    response = np.concatenate([[1.0], np.zeros(max(lag - 1, 0)), tail]).astype(np.float32)
    wet = scipy.signal.oaconvolve(waveform, response)[: len(waveform)].astype(np.float32)
    return _within_full_scale(wet * np.float32(_rms(waveform) / max(_rms(wet), 1e-12)))


def pitch(waveform: np.ndarray, rate_hz: int, semitones: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Shift the pitch by `semitones` without changing the tempo (librosa's phase vocoder)."""
    whole_window = np.pad(waveform, (0, max(VOCODER_WINDOW - len(waveform), 0)))
    shifted = librosa.effects.pitch_shift(whole_window, sr=rate_hz, n_steps=semitones, n_fft=VOCODER_WINDOW)
    return _within_full_scale(shifted[: len(waveform)])


def volume(waveform: np.ndarray, rate_hz: int, gain_db: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Change the level by `gain_db`."""
    return _within_full_scale(waveform * np.float32(10 ** (gain_db / 20)))


def telephone(
    waveform: np.ndarray, rate_hz: int, band_hz: tuple[float, float], rng: np.random.Generator | None = None
) -> np.ndarray:
    """Simulate a telephone line: 8 kHz, fourth-order Butterworth band-pass `(low, high)`, 8-bit mu-law (ITU-T G.711).

    The result is resampled to `rate_hz` and has no content above 4 kHz.
    """
    if not len(waveform):
        return waveform
    narrow = soxr.resample(waveform, rate_hz, TELEPHONE_RATE_HZ, quality="HQ")
    band = scipy.signal.butter(BANDPASS_ORDER, band_hz, "bandpass", fs=TELEPHONE_RATE_HZ, output="sos")
    coded = _mu_law(scipy.signal.sosfilt(band, narrow).astype(np.float32))
    wide = soxr.resample(coded, TELEPHONE_RATE_HZ, rate_hz, quality="HQ")[: len(waveform)]
    return _within_full_scale(np.pad(wide, (0, len(waveform) - len(wide))))


def delay(waveform: np.ndarray, rate_hz: int, late_ms: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Delay the audio by `late_ms` (negative: advance it) and keep the length.

    The gap is filled by time-reversed neighbouring audio, because a silent gap would be an artificial cue.
    """
    shift = round(late_ms * rate_hz / 1000)
    if not len(waveform):
        return waveform
    padded = np.pad(waveform, (max(shift, 0), max(-shift, 0)), mode="reflect" if len(waveform) > 1 else "edge")
    start = max(-shift, 0)
    return padded[start : start + len(waveform)]


def _mu_law(waveform: np.ndarray) -> np.ndarray:
    """Quantise to 8 bits on the continuous mu-law curve and expand."""
    limited = np.clip(waveform, -1.0, 1.0)
    compressed = np.sign(limited) * np.log1p(MU * np.abs(limited)) / np.log1p(MU)
    levels = np.round(compressed * 127.0) / 127.0
    return (np.sign(levels) * np.expm1(np.abs(levels) * np.log1p(MU)) / MU).astype(np.float32)


def _rms(waveform: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))) if len(waveform) else 0.0


def _within_full_scale(waveform: np.ndarray) -> np.ndarray:
    peak = float(np.max(np.abs(waveform), initial=0.0))
    return (waveform / max(peak, 1.0)).astype(np.float32, copy=False)
