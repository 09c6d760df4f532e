"""Shot boundaries: frames that differ from the previous one in most pixels and in their colours."""

from __future__ import annotations

import cv2
import numpy as np

GRID = 32
"""Frames are compared on at most this many pixels per side."""

MIN_PIXEL_CHANGE = 25.0
"""Mean absolute difference of a cut in grey levels. A hand-held camera reaches 45 without changing the colours."""

MIN_COLOUR_CHANGE = 0.25
"""Least share of pixels that change their colour bin at a cut. Scores and their measured error rates depend on this value."""

TIMELINE_COLOUR_CHANGE = 0.19
"""The same for the time line, which finds 99 % of the cuts instead of 97 %. Within a shot, the share stays below 0.175."""

COLOUR_BINS = 64


class CutDetector:
    """Detector of cuts in a sequence of frames."""

    def __init__(self, min_colour_change: float = MIN_COLOUR_CHANGE) -> None:
        """Start before the first frame. `min_colour_change` is in [0, 1]."""
        self._min_colour_change = min_colour_change
        self._pixels: np.ndarray | None = None

    def __call__(self, frame: np.ndarray) -> bool:
        """Return whether a cut precedes this (H, W, 3) uint8 frame. The first frame follows no cut."""
        height, width = frame.shape[:2]
        steps = max(1, height // GRID), max(1, width // GRID)
        pixels = frame[steps[0] // 2 :: steps[0], steps[1] // 2 :: steps[1]].copy()
        before, self._pixels = self._pixels, pixels
        if before is None:
            return False
        if before.shape != pixels.shape:
            return True
        if cv2.norm(pixels, before, cv2.NORM_L1) / pixels.size < MIN_PIXEL_CHANGE:
            return False
        change = np.abs(colour_histogram(pixels) - colour_histogram(before)).sum() / 2
        return bool(change >= self._min_colour_change)


def colour_histogram(pixels: np.ndarray) -> np.ndarray:
    """Return the share of pixels (h, w, 3) in each of 4 x 4 x 4 colour bins, (64,)."""
    level = pixels >> 6
    bins = level[..., 0] * 16 + level[..., 1] * 4 + level[..., 2]
    return np.bincount(bins.ravel(), minlength=COLOUR_BINS) / bins.size
