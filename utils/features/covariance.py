"""The covariance of a clip's frame histograms, reduced to the K frames that vary least with the rest.

Follows the technical report of the multi-ffdv entry: C is the covariance *between frames* (T, T), where each frame's 256
histogram bins are its observations. The entry's code took the covariance between bins instead; since every histogram of a
clip sums to the same pixel count, the row sums that it sorts by are zero up to round-off. It is kept as `bins` for comparison.
"""

from __future__ import annotations

import numpy as np

N_BINS = 256
"""Levels of a frame's histogram."""

FRAMES_PER_BLOCK = 4096
FLOAT64_ROUND_OFF = 1e-12
FLOAT32_ROUND_OFF = 4 * float(np.finfo(np.float32).eps)


def frame_covariance_row_sums(histograms: np.ndarray) -> np.ndarray:
    """Row sums of the (T, T) frame covariance without forming it.

    With Hc the histograms less each row's mean, C = Hc Hc' / 255, so its row sums are Hc (sum of Hc's rows) / 255. Works in
    blocks of frames: an hour of video needs no (T, 256) array of floats.

    Args:
        histograms: (T, 256) integers.

    Returns:
        (T,) float64.
    """
    n_frames, n_bins = histograms.shape
    column_sums = np.zeros(n_bins)
    for start in range(0, n_frames, FRAMES_PER_BLOCK):
        column_sums += centred_rows(histograms[start : start + FRAMES_PER_BLOCK]).sum(axis=0)
    row_sums = np.empty(n_frames)
    for start in range(0, n_frames, FRAMES_PER_BLOCK):
        block = slice(start, start + FRAMES_PER_BLOCK)
        row_sums[block] = centred_rows(histograms[block]) @ column_sums / (n_bins - 1)
    return row_sums


def centred_rows(histograms: np.ndarray) -> np.ndarray:
    """Each row of (T, 256) less its own mean, as float64."""
    rows = histograms.astype(np.float64)
    return rows - rows.mean(axis=1, keepdims=True)


def select_frames(row_sums: np.ndarray, top_k: int) -> np.ndarray:
    """Indices of the `top_k` smallest row sums in ascending order; equal sums keep the order of time."""
    return np.argsort(row_sums, kind="stable")[:top_k]


def frame_covariance(histograms: np.ndarray, top_k: int) -> np.ndarray:
    """The report's video feature.

    Args:
        histograms: (T, 256) integers, one row per frame.
        top_k: K, the number of frames kept.

    Returns:
        (K, K) float32 in [0, 1]: the covariance of the K frames with the smallest row sums, in ascending order of the sum,
        min-max scaled. With T < K the scaled (T, T) block is followed by zeros. All zeros for T < 2 and for a constant matrix.
    """
    n_frames = len(histograms)
    if n_frames < 2:
        return np.zeros((top_k, top_k), np.float32)
    selected = select_frames(frame_covariance_row_sums(histograms), top_k)
    centred = centred_rows(histograms[selected])
    return scaled_and_padded(centred @ centred.T / (histograms.shape[1] - 1), top_k)


def bin_covariance(histograms: np.ndarray, top_k: int) -> np.ndarray:
    """The released code's variant, for comparison only: covariance between the histogram bins over time.

    Which K bins it keeps is decided by round-off noise (see the module's docstring), so it is not repeatable across numpy
    versions.

    Args:
        histograms: (T, 256) integers.
        top_k: K, the number of bins kept; at most 256 are there, the rest of the matrix is zero.

    Returns:
        (K, K) float32 in [0, 1].
    """
    if len(histograms) < 2:
        return np.zeros((top_k, top_k), np.float32)
    matrix = np.cov(histograms, rowvar=False)
    selected = select_frames(matrix.sum(axis=1), top_k)
    return scaled_and_padded(matrix[np.ix_(selected, selected)], top_k)


def smaller_block(feature: np.ndarray, n_rows: int, top_k: int) -> np.ndarray:
    """The feature for a smaller K from a stored one, without the clip.

    Frames (or bins) stand in ascending order of their row sums, so the K smallest come first, and min-max scaling undoes the
    scaling that the stored block already has: up to its float32 rounding the result is what extraction with K would give.

    Args:
        feature: (N, N) float32 in [0, 1], what either function above returned for N.
        n_rows: frames of the clip, or bins; rows from there on are padding.
        top_k: K <= N.

    Returns:
        (K, K) float32 in [0, 1].
    """
    kept = min(n_rows, top_k)
    return scaled_and_padded(feature[:kept, :kept].astype(np.float64), top_k, round_off=FLOAT32_ROUND_OFF)


def scaled_and_padded(matrix: np.ndarray, size: int, round_off: float = FLOAT64_ROUND_OFF) -> np.ndarray:
    """Min-max scale a square matrix to [0, 1], then append zeros up to (size, size) float32; a constant one gives zeros.

    A spread of at most `round_off` of the largest value counts as none: it is round-off of a constant matrix, and scaling would
    blow it up to [0, 1].
    """
    low, high = matrix.min(), matrix.max()
    padded = np.zeros((size, size), np.float32)
    if high - low > round_off * max(abs(low), abs(high)):
        padded[: len(matrix), : len(matrix)] = (matrix - low) / (high - low)
    return padded
