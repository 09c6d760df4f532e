"""Colour histograms: counts of the 256 levels over all R, G and B values of a frame."""

from __future__ import annotations

import cv2
import numpy as np

from utils.features.covariance import N_BINS

try:
    import numba
except ImportError:  # the light installation has no compiler
    numba = None  # type: ignore[assignment]

N_PAIRS = N_BINS * N_BINS
BYTES_PER_WORD = 8
LEVELS_PER_CALL = 1 << 24
"""OpenCV counts in float32, which is exact up to this number."""


def _count_pairs(words: np.ndarray, rest: np.ndarray, pairs: np.ndarray, counts: np.ndarray) -> None:
    # A CPU does about one memory increment per cycle, regardless of the operand size. Counting pairs of neighbouring bytes and
    # then summing the rows and columns of the table takes half the increments of counting single bytes.
    pair = np.uint64(0xFFFF)
    for i in range(words.size):
        word = words[i]
        pairs[word & pair] += np.int32(1)
        pairs[(word >> np.uint64(16)) & pair] += np.int32(1)
        pairs[(word >> np.uint64(32)) & pair] += np.int32(1)
        pairs[word >> np.uint64(48)] += np.int32(1)
    counts[:] = 0
    for first in range(N_BINS):
        in_row = np.int32(0)
        for second in range(N_BINS):
            n = pairs[first * N_BINS + second]
            in_row += n
            counts[second] += n
            pairs[first * N_BINS + second] = 0
        counts[first] += in_row
    for i in range(rest.size):
        counts[rest[i]] += np.int32(1)


if numba is not None:
    _count_pairs = numba.njit(cache=True, nogil=True)(_count_pairs)


def count_levels(frame: np.ndarray, pairs: np.ndarray, counts: np.ndarray) -> None:
    """Write the sum of the R, G and B histograms of a frame into `counts`.

    Args:
        frame: (H, W, 3) uint8 in any channel order. A frame with padded rows is copied.
        pairs: (65536,) int32 scratch buffer. It must be all zeros and is all zeros again on return.
        counts: (256,) int32, overwritten. The counts sum to 3 H W.
    """
    levels = np.ascontiguousarray(frame).reshape(-1)
    if numba is None:
        counts[:] = 0
        for start in range(0, levels.size, LEVELS_PER_CALL):
            part = levels[start : start + LEVELS_PER_CALL]
            counts += cv2.calcHist([part], [0], None, [N_BINS], [0, N_BINS]).reshape(-1).astype(np.int32)
        return
    whole = levels.size - levels.size % BYTES_PER_WORD
    _count_pairs(levels[:whole].view(np.uint64), levels[whole:], pairs, counts)


def rgb_histogram(frame: np.ndarray) -> np.ndarray:
    """Sum a frame's R, G and B histograms: (H, W, 3) uint8 -> (256,) int32."""
    counts = np.empty(N_BINS, np.int32)
    count_levels(frame, np.zeros(N_PAIRS, np.int32), counts)
    return counts


class HistogramRows:
    """One histogram per frame, in memory that grows by doubling: 1 KiB a frame, 110 MB for an hour at 30 fps."""

    def __init__(self) -> None:
        """Allocate rows for a short clip."""
        self._rows = np.empty((256, N_BINS), np.int32)
        self._pairs = np.zeros(N_PAIRS, np.int32)
        self._count = 0

    def add(self, frame: np.ndarray) -> None:
        """Append the histogram of a (H, W, 3) uint8 frame."""
        if self._count == len(self._rows):
            # Unused rows are never touched, so the system allocates no memory for them.
            grown = np.empty((2 * self._count, N_BINS), np.int32)
            grown[: self._count] = self._rows
            self._rows = grown
        count_levels(frame, self._pairs, self._rows[self._count])
        self._count += 1

    def array(self) -> np.ndarray:
        """Return the histograms so far: (T, 256) int32, a view."""
        return self._rows[: self._count]
