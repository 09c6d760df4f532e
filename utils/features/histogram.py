"""The colour histogram of a frame: how often each of the 256 levels occurs in its R, G and B values together."""

from __future__ import annotations

import numba
import numpy as np

N_BINS = 256
N_TABLES = 8


@numba.njit(cache=True, nogil=True)
def _count_levels(words: np.ndarray, rest: np.ndarray, tables: np.ndarray, counts: np.ndarray) -> None:
    # Eight bytes are read at once, and each counts into a table of its own: neighbouring bytes are often equal, and in one
    # table each increment would have to wait for the one before it.
    byte = np.uint64(0xFF)
    tables[:] = 0
    for i in range(words.size):
        word = words[i]
        tables[0, word & byte] += np.int32(1)
        tables[1, (word >> np.uint64(8)) & byte] += np.int32(1)
        tables[2, (word >> np.uint64(16)) & byte] += np.int32(1)
        tables[3, (word >> np.uint64(24)) & byte] += np.int32(1)
        tables[4, (word >> np.uint64(32)) & byte] += np.int32(1)
        tables[5, (word >> np.uint64(40)) & byte] += np.int32(1)
        tables[6, (word >> np.uint64(48)) & byte] += np.int32(1)
        tables[7, word >> np.uint64(56)] += np.int32(1)
    for i in range(rest.size):
        tables[0, rest[i]] += np.int32(1)
    for level in range(N_BINS):
        total = np.int32(0)
        for table in range(N_TABLES):
            total += tables[table, level]
        counts[level] = total


def count_levels(frame: np.ndarray, tables: np.ndarray, counts: np.ndarray) -> None:
    """Write the sum of a frame's R, G and B histograms into `counts`.

    Args:
        frame: (H, W, 3) uint8; the channel order does not matter. Rows that are padded in memory cost a copy.
        tables: (8, 256) int32 scratch, so that a clip's frames share one.
        counts: (256,) int32, overwritten; it then sums to 3 H W.
    """
    levels = np.ascontiguousarray(frame).reshape(-1)
    whole = levels.size - levels.size % N_TABLES
    _count_levels(levels[:whole].view(np.uint64), levels[whole:], tables, counts)


def rgb_histogram(frame: np.ndarray) -> np.ndarray:
    """The sum of a frame's R, G and B histograms: (H, W, 3) uint8 -> (256,) int32."""
    counts = np.empty(N_BINS, np.int32)
    count_levels(frame, np.empty((N_TABLES, N_BINS), np.int32), counts)
    return counts


class HistogramRows:
    """Collects one histogram per frame in memory that grows by doubling: 1 KiB a frame, 110 MB for an hour at 30 fps."""

    def __init__(self) -> None:
        """Start with room for a short clip."""
        self._rows = np.empty((256, N_BINS), np.int32)
        self._tables = np.empty((N_TABLES, N_BINS), np.int32)
        self._count = 0

    def add(self, frame: np.ndarray) -> None:
        """Append the histogram of a (H, W, 3) uint8 frame."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        count_levels(frame, self._tables, self._rows[self._count])
        self._count += 1

    def array(self) -> np.ndarray:
        """The histograms so far: (T, 256) int32, a view."""
        return self._rows[: self._count]
