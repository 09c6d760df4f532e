"""One face followed over a span of frames: which detection is the same face as before, and its landmarks between looks."""

from __future__ import annotations

import numpy as np

from utils.features.face.detector import Detections, overlap

LEAST_OVERLAP = 0.1
"""A detection that overlaps less with the face's last place than this is another face."""

PREFERENCE = 10.0
"""How much closeness to the last place counts against size and score."""

SMOOTHING_LOOKS = 1.0
"""Standard deviation of the Gaussian over looks that landmarks are smoothed with."""


def most_prominent(found: Detections, last_box: np.ndarray | None) -> int | None:
    """Number of the detection to follow: large, sure, and where the face was before.

    Args:
        found: the faces of a frame.
        last_box: (4,) where the followed face was, or `None` when there is none yet.

    Returns:
        Its number, or `None` when no face, or not the followed one, is there.
    """
    sides = np.maximum(found.boxes[:, 2:] - found.boxes[:, :2], 0.0)
    rank = found.scores * np.sqrt(sides.prod(axis=1))
    usable = np.isfinite(found.landmarks).all(axis=(1, 2)) & (sides >= 1.0).all(axis=1)
    if last_box is not None:
        near = np.array([overlap(box, last_box) for box in found.boxes])
        rank = rank * (1 + PREFERENCE * near)
        usable &= near >= LEAST_OVERLAP
    if not usable.any():
        return None
    return int(np.argmax(np.where(usable, rank, -1.0)))


def smooth_landmarks(looks: np.ndarray, landmarks: np.ndarray, n_frames: int, spacing: int) -> np.ndarray:
    """Landmarks of every frame from those of the frames that were looked at.

    Args:
        looks: (L,) frame numbers, ascending.
        landmarks: (L, 5, 2) px.
        n_frames: T; before the first look and after the last one the landmarks stand still.
        spacing: frames from look to look.

    Returns:
        (T, 5, 2) float32 px: smoothed over looks, linear between them.
    """
    gaps = (looks[:, None] - looks[None, :]) / spacing
    weights = np.exp(-0.5 * (gaps / SMOOTHING_LOOKS) ** 2)
    smooth = weights @ landmarks.reshape(len(looks), -1) / weights.sum(axis=1, keepdims=True)
    frames = np.arange(n_frames)
    columns = [np.interp(frames, looks, column) for column in smooth.T]
    return np.stack(columns, axis=1).reshape(n_frames, 5, 2).astype(np.float32)
