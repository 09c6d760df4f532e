"""Short-time spectra and filterbanks, equal to librosa's.

librosa compiles with numba, which takes 200 MB on disk and a second of each start; scoring needs neither.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

BREAK_HZ, HZ_PER_MEL = 1000.0, 200.0 / 3
"""Slaney's mel scale is linear below `BREAK_HZ`."""

LOG_STEP = np.log(6.4) / 27
"""Growth of the frequency's logarithm per mel above `BREAK_HZ`."""

FRAMES_PER_BLOCK = 512
LEAST_POWER = 1e-10


def hann_window(length: int, n_fft: int) -> np.ndarray:
    """Return a periodic Hann window of `length` samples, centred in zeros, (n_fft,) float64."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    left = (n_fft - length) // 2
    return np.pad(window, (left, n_fft - length - left))


def stft(
    waveform: np.ndarray,
    *,
    n_fft: int,
    hop: int,
    window: int | None = None,
    pad_mode: Literal["constant", "reflect"] | None = "constant",
) -> np.ndarray:
    """Compute a short-time Fourier transform with a Hann window.

    Args:
        waveform: (S,) float32.
        n_fft: length of a frame in samples.
        hop: samples from one frame to the next.
        window: length of the window in samples; `None` for `n_fft`.
        pad_mode: padding of both ends by n_fft / 2, so that frame t is centred on sample t * hop; `None` for no padding.

    Returns:
        (1 + n_fft / 2, T) complex64.
    """
    if pad_mode is not None:
        waveform = np.pad(waveform, n_fft // 2, mode=pad_mode)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, n_fft)[::hop]
    spectrum = np.empty((len(frames), 1 + n_fft // 2), np.complex64)
    taper = hann_window(window or n_fft, n_fft)
    for start in range(0, len(frames), FRAMES_PER_BLOCK):
        block = slice(start, start + FRAMES_PER_BLOCK)
        spectrum[block] = np.fft.rfft(taper * frames[block], axis=1)
    return spectrum.T


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Convert mels of Slaney's scale to Hz."""
    break_mel = BREAK_HZ / HZ_PER_MEL
    return np.where(mel < break_mel, mel * HZ_PER_MEL, BREAK_HZ * np.exp(LOG_STEP * (mel - break_mel)))


def hz_to_mel(hertz: float) -> float:
    """Convert a frequency in Hz to mels of Slaney's scale."""
    if hertz < BREAK_HZ:
        return hertz / HZ_PER_MEL
    return BREAK_HZ / HZ_PER_MEL + float(np.log(hertz / BREAK_HZ) / LOG_STEP)


def mel_filterbank(
    rate_hz: int, n_fft: int, n_mels: int, *, low_hz: float = 0.0, high_hz: float | None = None, equal_area: bool = True
) -> np.ndarray:
    """Return triangular filters on Slaney's mel scale, (M, 1 + n_fft / 2) float32.

    Args:
        rate_hz: sample rate.
        n_fft: length of a frame of the spectrum.
        n_mels: M.
        low_hz: lower edge of the first filter.
        high_hz: upper edge of the last filter; `None` for half the sample rate.
        equal_area: whether all filters have the same area; otherwise all have a peak of 1.
    """
    mels = np.linspace(hz_to_mel(low_hz), hz_to_mel(rate_hz / 2 if high_hz is None else high_hz), n_mels + 2)
    edges = mel_to_hz(mels)
    widths = np.diff(edges)
    distance = edges[:, None] - np.fft.rfftfreq(n_fft, 1 / rate_hz)
    filters = np.maximum(0, np.minimum(-distance[:-2] / widths[:-1, None], distance[2:] / widths[1:, None]))
    filters = filters.astype(np.float32)
    if equal_area:
        filters *= (2 / (edges[2:] - edges[:-2]))[:, None]
    return filters


def decibels(power: np.ndarray, reference: float) -> np.ndarray:
    """Return a power spectrum in dB relative to `reference`; both are at least `LEAST_POWER`."""
    return 10 * np.log10(np.maximum(LEAST_POWER, power)) - 10 * np.log10(np.maximum(LEAST_POWER, reference))


def cosine_basis(count: int, size: int) -> np.ndarray:
    """Return the first `count` rows of the orthonormal DCT-II matrix of `size` points, (count, size) float64."""
    angles = np.pi * np.arange(count)[:, None] * (2 * np.arange(size) + 1) / (2 * size)
    return np.cos(angles) * np.where(np.arange(count) == 0, 1, np.sqrt(2))[:, None] / np.sqrt(size)


def moving_mean(
    values: np.ndarray, width: int, *, hop: int = 1, pad_mode: Literal["constant", "symmetric"] = "symmetric"
) -> np.ndarray:
    """Return the mean over `width` neighbours of every `hop`-th value along the last axis, (..., ceil(N / hop)).

    Args:
        values: (..., N) float64.
        width: an even width extends one further to the left than to the right.
        hop: distance of the centres.
        pad_mode: `constant` for zeros outside the series, `symmetric` for its reflection with the edge repeated.
    """
    left = width // 2
    edges = [(0, 0)] * (values.ndim - 1) + [(left, width - 1 - left)]
    padded = np.pad(values, edges, mode=pad_mode)
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1)[..., ::hop, :].mean(axis=-1)
