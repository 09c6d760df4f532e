"""Short-time analysis and synthesis for voice pseudo-fakes, at 16 kHz mono."""

from __future__ import annotations

import librosa
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter

from utils.features.voice import VOICE_RATE_HZ

HOP = 160
"""Samples between frames: 10 ms."""

N_FFT = 512
EPS = 1e-7


def stft(waveform: np.ndarray, n_fft: int = N_FFT, hop: int = HOP, win: int = 400) -> np.ndarray:
    """Return the complex short-time spectrum (n_fft // 2 + 1, T) of `waveform` (S,)."""
    return librosa.stft(waveform, n_fft=n_fft, hop_length=hop, win_length=win)


def istft(spectrum: np.ndarray, length: int, n_fft: int = N_FFT, hop: int = HOP, win: int = 400) -> np.ndarray:
    """Invert `stft` to `length` samples."""
    return librosa.istft(spectrum, n_fft=n_fft, hop_length=hop, win_length=win, length=length).astype(np.float32)


def mel_matrix(n_mels: int, n_fft: int = N_FFT) -> np.ndarray:
    """Return a mel filterbank (n_mels, n_fft // 2 + 1) over 0-8 kHz, each filter summing to one."""
    bank = librosa.filters.mel(sr=VOICE_RATE_HZ, n_fft=n_fft, n_mels=n_mels, norm=None)
    return (bank / np.maximum(bank.sum(1, keepdims=True), EPS)).astype(np.float32)


def mel_envelope(magnitude: np.ndarray, n_mels: int) -> np.ndarray:
    """Project a magnitude spectrum (F, T) onto `n_mels` bands; return the log mel (M, T)."""
    return np.log(mel_matrix(n_mels, 2 * (magnitude.shape[0] - 1)) @ magnitude + EPS)


def expand_mel(log_mel: np.ndarray, n_bins: int) -> np.ndarray:
    """Spread a log mel (M, T) back over `n_bins` linear frequencies by interpolation; return magnitudes (F, T)."""
    bank = mel_matrix(log_mel.shape[0], 2 * (n_bins - 1))
    centres = bank @ np.arange(n_bins)
    position = np.interp(np.arange(n_bins), centres, np.arange(len(centres)))
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, len(centres) - 1)
    weight = (position - low)[:, None]
    return np.exp((1 - weight) * log_mel[low] + weight * log_mel[high])


def blur(log_mel: np.ndarray, time_sigma: float, band_sigma: float) -> np.ndarray:
    """Smooth a log mel (M, T) by Gaussians over bands and frames, like the output of a regression network."""
    return gaussian_filter(log_mel, (band_sigma, time_sigma), mode="nearest")


def pitch_track(waveform: np.ndarray, low_hz: float = 70, high_hz: float = 400) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the pitch in Hz (T,) and the voicing strength in 0-1 (T,) every `HOP` samples by autocorrelation."""
    width = 640
    padded = np.pad(waveform, (width // 2, width))
    frames = librosa.util.frame(padded, frame_length=width, hop_length=HOP)[:, : 1 + len(waveform) // HOP]
    frames = (frames - frames.mean(0)) * np.hanning(width)[:, None]
    corr = np.fft.irfft(np.abs(np.fft.rfft(frames, 2048, axis=0)) ** 2, axis=0)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(width), 2048)) ** 2)
    corr = corr / (corr[:1] + 1e-9) / np.maximum(window / window[0], 0.05)[:, None]
    lags = slice(int(VOICE_RATE_HZ / high_hz), int(VOICE_RATE_HZ / low_hz))
    best = corr[lags].argmax(0)
    strength = np.clip(corr[lags].max(0), 0, 1)
    return VOICE_RATE_HZ / (best + lags.start), strength


def lpc_frames(waveform: np.ndarray, order: int, win: int = 480) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction polynomials (T, order + 1) and residual energies (T,) every `HOP` samples."""
    padded = np.pad(waveform, (win // 2, win))
    frames = librosa.util.frame(padded, frame_length=win, hop_length=HOP)[:, : 1 + len(waveform) // HOP].T
    power = np.abs(np.fft.rfft(frames * np.hanning(win), 1024)) ** 2
    return lpc_from_power(power, order)


def lpc_from_power(power: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Apply Levinson-Durbin to power spectra (T, F); return polynomials (T, order + 1) and energies (T,)."""
    corr = np.fft.irfft(power, axis=1)[:, : order + 1].copy()
    corr[:, 0] = corr[:, 0] * 1.0001 + 1e-9
    poly = np.zeros((len(corr), order + 1))
    poly[:, 0] = 1
    error = corr[:, 0].copy()
    for i in range(1, order + 1):
        k = -(poly[:, :i] * corr[:, i:0:-1]).sum(1) / error
        flipped = poly[:, i - 1 :: -1].copy() if i > 1 else poly[:, :1].copy()
        poly[:, 1 : i + 1] += k[:, None] * flipped[:, :i]
        error = np.maximum(error * (1 - k**2), 1e-12)
    return poly, error


def filter_frames(excitation: np.ndarray, poly: np.ndarray, inverse: bool) -> np.ndarray:
    """Apply the time-varying filter A (`inverse`) or 1/A to `excitation` (S,); coefficients change every `HOP` samples."""
    order = poly.shape[1] - 1
    state = np.zeros(order)
    out = np.empty_like(excitation, dtype=np.float64)
    for t in range((len(excitation) + HOP - 1) // HOP):
        chunk = excitation[t * HOP : (t + 1) * HOP]
        a = poly[min(t, len(poly) - 1)]
        top, bottom = (a, [1.0]) if inverse else ([1.0], a)
        out[t * HOP : t * HOP + len(chunk)], state = lfilter(top, bottom, chunk, zi=state)
    return out
