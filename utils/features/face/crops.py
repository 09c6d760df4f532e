"""Face cut-outs, downscaled to limit memory, and the aligned crops computed from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

CROP_PX = 224

CROPS_VERSION = 1
"""Increase it when the same frames give other crops than before; pseudo-fakes of faces are then made again."""

TEMPLATE = np.array([[85.4, 87.5], [138.3, 87.3], [112.0, 117.6], [90.3, 148.5], [134.1, 148.3]], np.float32)
"""Positions of the five landmarks in a crop of `CROP_PX`. The eyes are 53 px apart; chin and ears fit into the crop."""

MARGIN = 1.8
"""Ratio of a cut-out's side to the crop's side. The margin allows for rotation, and for motion until the next detection."""

AREA_BELOW = 0.75
"""Faces that are downscaled by a factor below this are area-averaged first to avoid aliasing."""

MIN_CUT_PX = 8
MIN_SCALE = 1e-6


@dataclass(frozen=True)
class FaceCrops:
    """Aligned crops of one face.

    Attributes:
        crops: (T, 224, 224, 3) uint8 RGB, consecutive frames.
        times_s: (T,) float64, presentation times, ascending.
        eye_px: median distance between the eyes, in pixels of the clip.
        found: share of detection frames in which the face was found, 0 to 1.
    """

    crops: np.ndarray
    times_s: np.ndarray
    eye_px: float
    found: float


@dataclass(frozen=True)
class CutOut:
    """A part of a frame.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        corner: (2,) x and y of the top left corner in the frame.
        scale: (2,) scale relative to the frame, along x and y.
    """

    pixels: np.ndarray
    corner: np.ndarray
    scale: np.ndarray

    def locate(self, points: np.ndarray) -> np.ndarray:
        """Convert pixel-centre coordinates (..., 2) of the frame to those of the cut-out."""
        return (points + 0.5 - self.corner) * self.scale - 0.5


@dataclass(frozen=True)
class CutRegion:
    """The part of a frame that shows a face with a margin.

    Attributes:
        shape: height and width of the frame.
        rows: rows of the part.
        columns: columns of the part.
        corner: (2,) x and y of its top left corner.
        scale: scale at which the face has the size of the template.
    """

    shape: tuple[int, int]
    rows: slice
    columns: slice
    corner: np.ndarray
    scale: float

    def cut_out(self, frame: np.ndarray) -> CutOut:
        """Copy the region of a frame (H, W, 3) uint8. Downscale it to about the resolution of the crop if it is higher."""
        pixels, taken = shrink(frame[self.rows, self.columns], self.scale)
        # Without scaling, the part is a view of the frame, which the decoder will overwrite.
        return CutOut(pixels.copy() if (taken == 1).all() else pixels, self.corner, taken)


def cut_region(landmarks: np.ndarray, shape: tuple[int, int]) -> CutRegion:
    """Return the region around landmarks (5, 2) px in frames of height and width `shape`."""
    matrix = similarity(landmarks, TEMPLATE)
    scale = size_of(matrix)
    middle = np.linalg.solve(matrix[:, :2], np.full(2, CROP_PX / 2) - matrix[:, 2])
    half = max(MIN_CUT_PX, MARGIN * CROP_PX / scale) / 2
    limits = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(middle - half), 0, np.maximum(limits - MIN_CUT_PX, 0)).astype(int)
    high = np.clip(np.ceil(middle + half), np.minimum(low + MIN_CUT_PX, limits), limits).astype(int)
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    return CutRegion(shape, rows, columns, low.astype(np.float64), scale)


def shrink(pixels: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Downscale an image (H, W, 3) by averaging, to `scale` or at most a third above it. Never upscale.

    Returns:
        The downscaled image, and its scale along x and y (2,).
    """
    pixels, taken = halve(pixels, scale)
    if scale >= AREA_BELOW * taken:
        return pixels, np.full(2, taken)
    before = np.array(pixels.shape[1::-1])
    after = np.maximum(1, np.round(before * scale / taken)).astype(int)
    small = cv2.resize(pixels, (int(after[0]), int(after[1])), interpolation=cv2.INTER_AREA)
    return small, taken * after / before


def halve(pixels: np.ndarray, scale: float) -> tuple[np.ndarray, float]:
    """Halve an image (H, W, 3) repeatedly while its scale stays at or above `scale`. An odd last row or column is dropped.

    This is several times faster than averaging over fractions of pixels.

    Returns:
        The downscaled image, and its scale.
    """
    taken = 1.0
    while taken * 0.5 >= scale and min(pixels.shape[:2]) > 1:
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        pixels = cv2.resize(pixels[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        taken *= 0.5
    return pixels, taken


def align(frames: Sequence[np.ndarray], landmarks: np.ndarray, side_px: int = CROP_PX) -> np.ndarray:
    """Rotate, scale and shift frames to align the landmarks of a face with the template.

    Args:
        frames: T frames (H, W, 3) uint8, of any sizes.
        landmarks: (T, 5, 2) px of the frame.
        side_px: S, the side of the crops. The template is scaled with it.

    Returns:
        (T, S, S, 3) uint8. Pixels outside a frame are filled by reflection.
    """
    template = TEMPLATE * np.float32(side_px / CROP_PX)
    crops = np.empty((len(frames), side_px, side_px, 3), np.uint8)
    for frame, points, matrix, crop in zip(frames, landmarks, similarities(landmarks, template), crops, strict=True):
        scale = size_of(matrix)
        if scale < AREA_BELOW:
            small, taken = shrink(frame, scale)
            frame, matrix = small, similarity(CutOut(small, np.zeros(2), taken).locate(points), template)
        crop[:] = cv2.warpAffine(
            frame, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
    return crops


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit the similarity (2, 3) float64 (rotation, scale, shift) between points (N, 2) by least squares.

    If all points coincide, rotation and scale are the identity.
    """
    return similarities(source[None], target)[0]


def similarities(sources: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit a similarity from each of T sets of points (T, N, 2) to `target` (N, 2); return (T, 2, 3). See `similarity`."""
    source_means, target_mean = sources.mean(axis=1, dtype=np.float64), target.mean(axis=0, dtype=np.float64)
    a, b = sources - source_means[:, None], target - target_mean
    spread = np.maximum((a**2).sum(axis=(1, 2)), 1e-6)
    cosine = (a * b).sum(axis=(1, 2)) / spread
    sine = (a[..., 0] * b[:, 1] - a[..., 1] * b[:, 0]).sum(axis=1) / spread
    coinciding = np.hypot(cosine, sine) < MIN_SCALE
    cosine, sine = np.where(coinciding, 1.0, cosine), np.where(coinciding, 0.0, sine)
    turns = np.stack([cosine, -sine, sine, cosine], axis=1).reshape(-1, 2, 2)
    shifts = target_mean - (turns @ source_means[..., None])[..., 0]
    return np.concatenate([turns, shifts[..., None]], axis=2)


def size_of(matrix: np.ndarray) -> float:
    """Return the scale of a similarity (2, 3)."""
    return math.hypot(matrix[0, 0], matrix[1, 0])
