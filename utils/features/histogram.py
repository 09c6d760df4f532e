"""The colour histogram of a frame: how often each of the 256 levels occurs in its R, G and B values together."""

from __future__ import annotations

import numba
import numpy as np

N_BINS = 256
N_TABLES = 8


@numba.njit(cache=True, nogil=True)
def _count_levels(rows: np.ndarray, tables: np.ndarray) -> None:
    # Neighbouring bytes are often equal. Counting them into one table would make each increment wait for the one before
    # it; eight tables, one per byte position, let the increments overlap.
    height, width = rows.shape
    whole = width - width % N_TABLES
    for row in range(height):
        for column in range(0, whole, N_TABLES):
            tables[0, rows[row, column]] += 1
            tables[1, rows[row, column + 1]] += 1
            tables[2, rows[row, column + 2]] += 1
            tables[3, rows[row, column + 3]] += 1
            tables[4, rows[row, column + 4]] += 1
            tables[5, rows[row, column + 5]] += 1
            tables[6, rows[row, column + 6]] += 1
            tables[7, rows[row, column + 7]] += 1
        for column in range(whole, width):
            tables[0, rows[row, column]] += 1


def rgb_histogram(frame: np.ndarray) -> np.ndarray:
    """The sum of a frame's R, G and B histograms.

    Args:
        frame: (H, W, 3) uint8; the channel order does not matter, and rows may be padded in memory.

    Returns:
        (256,) int32 whose sum is 3 H W.
    """
    height, width, channels = frame.shape
    rows = np.lib.stride_tricks.as_strided(frame, (height, width * channels), (frame.strides[0], 1), writeable=False)
    tables = np.zeros((N_TABLES, N_BINS), np.int32)
    _count_levels(rows, tables)
    return tables.sum(axis=0, dtype=np.int32)


class HistogramRows:
    """Collects one histogram per frame in memory that grows by doubling: 1 KiB a frame, 110 MB for an hour at 30 fps."""

    def __init__(self) -> None:
        """Start with room for a short clip."""
        self._rows = np.empty((256, N_BINS), np.int32)
        self._count = 0

    def add(self, frame: np.ndarray) -> None:
        """Append the histogram of a (H, W, 3) uint8 frame."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = rgb_histogram(frame)
        self._count += 1

    def array(self) -> np.ndarray:
        """The histograms so far: (T, 256) int32, a view."""
        return self._rows[: self._count]
