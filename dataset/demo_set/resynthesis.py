"""Resynthesise speech from its mel-spectrogram only, as the vocoder of a text-to-speech system would.

librosa is not used because importing it slows down the start of the workers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.fft import irfft, rfft

N_FFT = 1024
HOP = N_FFT // 4
N_MELS = (56, 64, 80)
MOMENTUM = 0.99


def resynthesise(
    samples: np.ndarray, sample_rate_hz: int, rng: np.random.Generator, iterations: int = 16
) -> np.ndarray:
    """Reconstruct a waveform from its mel-spectrogram with 56, 64 or 80 bands.

    The magnitude comes from the pseudo-inverse, the phase from the fast Griffin-Lim algorithm (Perraudin, Balazs and
    Søndergaard, "A fast Griffin-Lim algorithm", WASPAA 2013). The original phase and the fine structure within each band
    are lost, which a detector can recognise.

    Args:
        samples: (S,) float waveform.
        sample_rate_hz: Sample rate of the waveform.
        rng: Generator that draws the number of bands and the initial phase.
        iterations: Griffin-Lim iterations.

    Returns:
        (S,) float32 with the same RMS as the input.
    """
    to_mel, from_mel = _mel_matrices(sample_rate_hz, int(rng.choice(N_MELS)))
    # Reflect-pad the ends and cut them off again: partial windows would cause a fade-in that looks like silence.
    framed = np.pad(samples, N_FFT, mode="reflect")
    power = np.abs(_stft(framed)) ** 2
    magnitude = np.sqrt(np.maximum((power @ to_mel.T) @ from_mel.T, 0)).astype(np.float32)
    angles = np.exp(2j * np.pi * rng.random(magnitude.shape, dtype=np.float32)).astype(np.complex64)
    previous = np.zeros_like(angles)
    for _ in range(iterations):
        rebuilt = _stft(_istft(magnitude * angles, len(framed)))
        angles = rebuilt + MOMENTUM * (rebuilt - previous)
        angles /= np.abs(angles) + 1e-9
        previous = rebuilt
    out = _istft(magnitude * angles, len(framed))[N_FFT:-N_FFT]
    level = np.sqrt(np.mean(samples**2) / (np.mean(out**2) + 1e-12))
    return (out * level).astype(np.float32)


@lru_cache(maxsize=len(N_MELS))
def _mel_matrices(sample_rate_hz: int, n_mels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return triangular filters on O'Shaughnessy's mel scale, (M, F) float32, and their pseudo-inverse, (F, M)."""
    bins_hz = np.arange(N_FFT // 2 + 1) * sample_rate_hz / N_FFT
    edges_mel = np.linspace(0, 2595 * np.log10(1 + sample_rate_hz / 1400), n_mels + 2)
    edges_hz = 700 * (10 ** (edges_mel / 2595) - 1)
    rising = (bins_hz - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / np.diff(edges_hz)[1:, None]
    filters = np.maximum(np.minimum(rising, falling), 0)
    return filters.astype(np.float32), np.linalg.pinv(filters, rcond=1e-3).astype(np.float32)


_WINDOW = np.hanning(N_FFT + 1)[:-1].astype(np.float32)


def _stft(samples: np.ndarray) -> np.ndarray:
    padded = np.pad(samples.astype(np.float32), (N_FFT // 2, N_FFT // 2 + HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    return rfft(frames * _WINDOW, axis=1)


def _istft(spectrum: np.ndarray, length: int) -> np.ndarray:
    # Squared Hann windows at a hop of a quarter window sum to 1.5.
    frames = irfft(spectrum, N_FFT, axis=1) * (_WINDOW / 1.5)
    out = np.zeros(len(frames) * HOP + N_FFT, np.float32)
    for quarter in range(N_FFT // HOP):
        piece = frames[:, quarter * HOP : (quarter + 1) * HOP].reshape(-1)
        out[quarter * HOP : quarter * HOP + len(piece)] += piece
    return out[N_FFT // 2 : N_FFT // 2 + length]
