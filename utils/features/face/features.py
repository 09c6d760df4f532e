"""What the experts see of a face: pairs of consecutive frames, and the mouth over time."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from utils.features.face.crops import CROP_PX, FaceCrops

FACE_VERSION = 1
"""Raise it when the same clip would give other face features than before."""

PAIRS = 16
PAIR_PX = 112
MOUTH_HZ = 25
MOUTH_ROWS, MOUTH_COLUMNS = 24, 28
MAX_MOUTH_FRAMES = 128
"""MAX_T: what the window holds at 20 frames a second; of a slower clip the beginning counts."""

MOUTH_IN_CROP = (slice(116, 196), slice(68, 156))


@dataclass(frozen=True)
class FaceFeatures:
    """A clip's face, as it lies on disk.

    Attributes:
        pairs: (16, 2, 112, 112, 3) uint8 RGB: consecutive frames, evenly spread over the time that the face was followed.
        mouth: (T', 24, 28) uint8 grey levels at 25 frames a second, 1 <= T' <= `MAX_MOUTH_FRAMES`.
        start_s: time of the first of them, on the clock of the clip's sound (its first sample is at 0).
    """

    pairs: np.ndarray
    mouth: np.ndarray
    start_s: float


def describe_faces(face: FaceCrops) -> FaceFeatures:
    """What the experts see of a face's crops, which need at least two frames; `start_s` is the first frame's own time."""
    first = np.round(np.linspace(0, len(face.crops) - 2, PAIRS)).astype(int)
    needed = {number: halved(face.crops[number]) for number in np.union1d(first, first + 1)}
    pairs = np.stack([np.stack([needed[number], needed[number + 1]]) for number in first])
    return FaceFeatures(pairs, mouth_series(face.crops, face.times_s), float(face.times_s[0]))


def halved(crop: np.ndarray) -> np.ndarray:
    """A crop (224, 224, 3) at half its size."""
    return cv2.resize(crop, (PAIR_PX, PAIR_PX), interpolation=cv2.INTER_AREA)


def mouth_series(crops: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """The mouth of aligned crops (T, 224, 224, 3) at times (T,), as grey levels (T', 24, 28) uint8 at `MOUTH_HZ`."""
    if crops.shape[1:] != (CROP_PX, CROP_PX, 3):
        raise ValueError(f"crops are (T, {CROP_PX}, {CROP_PX}, 3), not {crops.shape}")
    grey = (cv2.cvtColor(crop[MOUTH_IN_CROP], cv2.COLOR_RGB2GRAY) for crop in crops)
    size = (MOUTH_COLUMNS, MOUTH_ROWS)
    small = np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in grey]).astype(np.float32)
    grid = np.arange(times_s[0], times_s[-1], 1 / MOUTH_HZ)[:MAX_MOUTH_FRAMES]
    right = np.searchsorted(times_s, grid).clip(1, len(times_s) - 1)
    share = (grid - times_s[right - 1]) / (times_s[right] - times_s[right - 1])
    share = share.clip(0, 1).astype(np.float32)[:, None, None]
    return np.round(small[right - 1] * (1 - share) + small[right] * share).astype(np.uint8)
