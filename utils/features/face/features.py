"""What the experts see of a face: pairs of consecutive frames, and the mouth over time."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from utils.features.face.crops import CROP_PX, FaceCrops

PAIRS = 16
PAIR_PX = 112
PAIR_SHAPE = (2, PAIR_PX, PAIR_PX, 3)
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


def write_face(path: Path, face: FaceFeatures | None) -> None:
    """Write a face, or the note that a clip has none, to an `.npz` file: arrays of length 0."""
    pairs = np.zeros((0, *PAIR_SHAPE), np.uint8) if face is None else face.pairs
    mouth = np.zeros((0, MOUTH_ROWS, MOUTH_COLUMNS), np.uint8) if face is None else face.mouth
    with open(path, "wb") as file:
        np.savez(file, pairs=pairs, mouth=mouth, start_s=np.float64(0.0 if face is None else face.start_s))


def read_face(path: Path) -> FaceFeatures | None:
    """What `write_face` wrote.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else, or damaged.
    """
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError(f"{path} is no archive")
        with stored:
            pairs, mouth, start_s = stored["pairs"], stored["mouth"], stored["start_s"]
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} is not whole: {error}") from None
    found = [(array.dtype, array.shape[1:]) for array in (pairs, mouth)]
    expected = [(np.dtype(np.uint8), PAIR_SHAPE), (np.dtype(np.uint8), (MOUTH_ROWS, MOUTH_COLUMNS))]
    if found != expected or start_s.dtype != np.float64 or start_s.shape or not np.isfinite(start_s):
        raise ValueError(f"{path} does not hold a face")
    if (len(pairs), len(mouth)) == (0, 0):
        return None
    if len(pairs) != PAIRS or not 1 <= len(mouth) <= MAX_MOUTH_FRAMES:
        raise ValueError(f"{path} does not hold a face")
    return FaceFeatures(pairs, mouth, float(start_s))


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
    # A last frame that falls on the grid but for round-off belongs to it.
    count = min(MAX_MOUTH_FRAMES, int((times_s[-1] - times_s[0]) * MOUTH_HZ + 1e-3) + 1)
    grid = times_s[0] + np.arange(count) / MOUTH_HZ
    right = np.searchsorted(times_s, grid).clip(1, len(times_s) - 1)
    share = (grid - times_s[right - 1]) / (times_s[right] - times_s[right - 1])
    share = share.clip(0, 1).astype(np.float32)[:, None, None]
    return np.round(small[right - 1] * (1 - share) + small[right] * share).astype(np.uint8)
