"""The audio fingerprint: 32 bits every 23 ms, the signs of differences of band energies along frequency and time.

Follows J. Haitsma and T. Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002), equation 1: windows of 0.37 s, 33
bands in geometric progression from 300 to 2000 Hz, and bit m of window n is set where E(n, m) - E(n, m+1) exceeds
E(n-1, m) - E(n-1, m+1). The hop is twice theirs, which halves memory and time. The windows of two clips are
then misaligned by at most 3 % of a window.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

RATE_HZ = 5500
WINDOW = 2048
HOP = 128
N_BANDS = 33
BAND_EDGES_HZ = np.geomspace(300.0, 2000.0, N_BANDS + 1)
MAX_BITS = 16384
"""Maximum number of windows per clip: the first six minutes."""

SILENCE_DB = -60.0
"""Windows with less band energy, relative to the loudest window, count as silent: their bits would be codec noise."""

WINDOWS_PER_BLOCK = 1024
HANN = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
BAND_STARTS = np.searchsorted(np.arange(WINDOW // 2 + 1) * RATE_HZ / WINDOW, BAND_EDGES_HZ)


def audio_bits(samples: np.ndarray) -> np.ndarray:
    """Return the sub-fingerprints of a waveform.

    Args:
        samples: (S,) float32, mono, at `RATE_HZ`.

    Returns:
        (A,) uint32 with A = (S - WINDOW) // HOP, at most `MAX_BITS`. Silent windows are 0; others are almost never
        0.
    """
    energy = band_energies(samples[: WINDOW + HOP * MAX_BITS])
    if len(energy) < 2:
        return np.zeros(0, np.uint32)
    slope = energy[:, :-1] - energy[:, 1:]
    bits = np.packbits(slope[1:] > slope[:-1], axis=1, bitorder="little").view(np.uint32).ravel()
    loudness = energy.sum(axis=1)
    silent = loudness <= loudness.max() * 10 ** (SILENCE_DB / 10)
    bits[silent[1:]] = 0
    return bits


def band_energies(samples: np.ndarray) -> np.ndarray:
    """Return the energy per window and band, (1 + (S - WINDOW) // HOP, 33) float32; no rows if S < WINDOW."""
    if len(samples) < WINDOW:
        return np.zeros((0, N_BANDS), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    blocks = []
    for start in range(0, len(windows), WINDOWS_PER_BLOCK):
        spectrum = scipy.fft.rfft(windows[start : start + WINDOWS_PER_BLOCK] * HANN, axis=1)[:, : BAND_STARTS[-1]]
        power = spectrum.real**2 + spectrum.imag**2
        blocks.append(np.add.reduceat(power, BAND_STARTS[:-1], axis=1))
    return np.concatenate(blocks)
