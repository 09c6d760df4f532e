"""Tracking of one face: association of detections across frames, and landmarks of the frames between detections."""

from __future__ import annotations

import numpy as np

from utils.features.face.detector import Detections, overlaps

MIN_OVERLAP = 0.1
"""Minimum intersection over union of a detection and the latest box of the same face."""

PREFERENCE = 10.0
"""Weight of the overlap with the latest box relative to size and score."""

SMOOTHING_DETECTIONS = 1.0
"""Standard deviation of the Gaussian that smooths landmarks over time, in detection intervals."""


def most_prominent(found: Detections, last_box: np.ndarray | None) -> int | None:
    """Return the index of the detection to track: large, with a high score, and near the latest box.

    Args:
        found: detections of a frame.
        last_box: (4,) px, latest box of the tracked face; `None` without a track.

    Returns:
        The index; `None` if there is no face, or none that overlaps `last_box`.
    """
    sides = np.maximum(found.boxes[:, 2:] - found.boxes[:, :2], 0.0)
    rank = found.scores * np.sqrt(sides.prod(axis=1))
    usable = np.isfinite(found.landmarks).all(axis=(1, 2)) & (sides >= 1.0).all(axis=1)
    if last_box is not None:
        near = overlaps(found.boxes, last_box)
        rank = rank * (1 + PREFERENCE * near)
        usable &= near >= MIN_OVERLAP
    if not usable.any():
        return None
    return int(np.argmax(np.where(usable, rank, -1.0)))


def smooth_landmarks(detected: np.ndarray, landmarks: np.ndarray, n_frames: int, spacing: int) -> np.ndarray:
    """Interpolate landmarks for every frame from the frames with a detection.

    Args:
        detected: (L,) frame numbers, ascending.
        landmarks: (L, 5, 2) px.
        n_frames: T. Landmarks are constant before the first detection and after the last one.
        spacing: interval of detection, in frames.

    Returns:
        (T, 5, 2) float32 px, smoothed over detections and linear between them.
    """
    gaps = (detected[:, None] - detected[None, :]) / spacing
    weights = np.exp(-0.5 * (gaps / SMOOTHING_DETECTIONS) ** 2)
    smooth = weights @ landmarks.reshape(len(detected), -1) / weights.sum(axis=1, keepdims=True)
    frames = np.arange(n_frames)
    columns = [np.interp(frames, detected, column) for column in smooth.T]
    return np.stack(columns, axis=1).reshape(n_frames, 5, 2).astype(np.float32)
