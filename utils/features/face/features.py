"""Face features: pairs of consecutive frames of one tracked face, its mouth over time, and its motion."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from utils.features.base import FEATURES, FRAMES, ArraySpec, ClipPass, Extractor, Feature
from utils.features.clip import ClipFacts
from utils.features.face.crops import CROP_PX, FaceCrops
from utils.features.face.motion import MAX_MOTION_STEPS, MOTION_CHANNELS, motion_series, scorable
from utils.files import is_plain_archive

if TYPE_CHECKING:
    from utils.features.config import FeatureConfig

FACE_VERSION = 2
"""Increase this if the same frames give different face features than before. Only sets with faces are extracted again."""

PAIRS = 16
PAIR_PX = 112
PAIR_SHAPE = (2, PAIR_PX, PAIR_PX, 3)
MOUTH_HZ = 25
MOUTH_ROWS, MOUTH_COLUMNS = 24, 28
MAX_MOUTH_FRAMES = 128
"""Number of mouth frames in a face window at 20 frames per second. At lower frame rates, only the beginning is used."""

MOUTH_IN_CROP = (slice(116, 196), slice(68, 156))


@dataclass(frozen=True)
class FaceFeatures:
    """Stored face features of a clip.

    Attributes:
        pairs: (16, 2, 112, 112, 3) uint8 RGB: consecutive frames, evenly spaced over the time in which the face was tracked.
        mouth: (T', 24, 28) uint8 grey levels at 25 frames per second, 1 <= T' <= `MAX_MOUTH_FRAMES`.
        start_s: time of the first mouth frame on the clock of the waveform, whose first sample is at 0.
        motion: (T'', C) float32, see `motion_series`; T'' = 0 for a face of fewer than three frames.
    """

    pairs: np.ndarray
    mouth: np.ndarray
    start_s: float
    motion: np.ndarray


NO_FACE = FaceFeatures(
    pairs=np.zeros((0, *PAIR_SHAPE), np.uint8),
    mouth=np.zeros((0, MOUTH_ROWS, MOUTH_COLUMNS), np.uint8),
    start_s=0.0,
    motion=np.zeros((0, MOTION_CHANNELS), np.float32),
)
"""Stored features of a clip without a face."""


@FEATURES.register("face", bool)
class FaceFeature(Feature):
    """One tracked, aligned face in the middle of the clip. Its value is `FaceFeatures`, or `None` without a face."""

    name, key, fed, inputs = "face", "face", (FRAMES,), ("face", "mouth", "motion")
    folder, suffix, needs_length, windowed = "face_feature", ".npz", True, True

    @classmethod
    def stored_fields(cls, config: FeatureConfig) -> dict[str, Any]:
        """Return the version if faces are stored. Otherwise the fingerprint does not depend on it."""
        return {cls.key: FACE_VERSION} if config.face else {}

    @classmethod
    def adapt(cls, config: FeatureConfig, stored: Mapping[str, Any]) -> FeatureConfig:
        """Accept files with faces if none are requested."""
        return config.with_setting(cls.key, True) if stored.get(cls.key) == FACE_VERSION else config

    def require(self) -> None:
        """Check that the face detector's weights are present."""
        from utils.features.face.detector import require_weights

        require_weights()

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Return the declarations of `face`, `mouth` and `motion`; the last two have a mask over frames and steps."""
        return (
            ArraySpec("face", (PAIRS, *PAIR_SHAPE), np.uint8),
            ArraySpec("mouth", (MAX_MOUTH_FRAMES, MOUTH_ROWS, MOUTH_COLUMNS), np.uint8, padded=True),
            ArraySpec("motion", (MAX_MOTION_STEPS, MOTION_CHANNELS), np.float32, padded=True),
        )

    def to_arrays(self, value: Any, facts: ClipFacts) -> Mapping[str, np.ndarray | None]:
        """Return pairs, mouth and motion."""
        if value is None:
            return dict.fromkeys(self.inputs)
        return {"face": value.pairs, "mouth": value.mouth, "motion": scorable(value.motion)}

    def reasons(self, value: Any, facts: ClipFacts) -> frozenset[str]:
        """Return `no_face` for a video of at least two frames in which no face was found."""
        return frozenset({"no_face"} if value is None and facts.n_frames > 1 else ())

    def extractor(self, clip: ClipPass) -> Extractor:
        """Return an extractor that tracks the face, or the face of each window."""
        if clip.windowed:
            from utils.features.face.windowed import WindowedFaceExtractor

            return WindowedFaceExtractor(clip)
        return FaceExtractor(clip)

    def write(self, path: Path, value: Any) -> None:
        """Write the face. For a clip without a face, the arrays have length 0."""
        write_face(path, value)

    def read(self, path: Path, facts: ClipFacts) -> Any:
        """Return the stored face; `None` for a clip without one."""
        return read_face(path)


class FaceExtractor(Extractor):
    """Extractor that tracks the face during the pass, then aligns it."""

    def __init__(self, clip: ClipPass, *, others: bool = False) -> None:
        """Create an extractor without frames. With `others`, further faces are tracked too."""
        # Imported here because the module imports a decoder that only decoding processes need.
        from utils.features.face.window import FaceWindow

        self._clip = clip
        self.window = FaceWindow(clip.facts, max_frames=clip.max_frames, others=others)

    def add_frame(self, frame: np.ndarray) -> None:
        """Track the face in a frame."""
        self.window.add(frame)

    def needs_frame(self, time_s: float | None) -> bool:
        """Return whether the next frame is in the window."""
        return self.window.needs_frame()

    def finish(self) -> Any:
        """Return the face on the clock of the waveform; `None` without a face."""
        crops = self._crops()
        if crops is None:
            return None
        face = face_features(crops)
        return replace(face, start_s=face.start_s - (self._clip.facts.audio_start_s or 0.0))

    def _crops(self) -> FaceCrops | None:
        from utils.features.face.window import clip_faces

        if not self.window.misplaced:
            return self.window.crops()
        # The container declared frames that do not exist. Decode again with the actual number of frames.
        return clip_faces(self._clip.path, max_frames=self._clip.max_frames, n_frames=self._clip.facts.n_frames)


def face_features(face: FaceCrops) -> FaceFeatures:
    """Return the features of a face's crops, at least two frames; `start_s` is the presentation time of the first one."""
    first = np.round(np.linspace(0, len(face.crops) - 2, PAIRS)).astype(int)
    needed = {number: halved(face.crops[number]) for number in np.union1d(first, first + 1)}
    pairs = np.stack([np.stack([needed[number], needed[number + 1]]) for number in first])
    mouth, motion = mouth_series(face.crops, face.times_s), motion_series(face.crops, face.times_s)
    return FaceFeatures(pairs, mouth, float(face.times_s[0]), motion)


def write_face(path: Path, face: FaceFeatures | None) -> None:
    """Write a face to an `.npz` file. For `None`, the arrays have length 0."""
    face = NO_FACE if face is None else face
    with open(path, "wb") as file:
        np.savez(file, pairs=face.pairs, mouth=face.mouth, start_s=np.float64(face.start_s), motion=face.motion)


def read_face(path: Path) -> FaceFeatures | None:
    """Read a face written by `write_face`.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged or has another format.
    """
    try:
        if not is_plain_archive(path):
            raise ValueError(f"{path} is not an uncompressed archive")
        stored = np.load(path, allow_pickle=False)
        with stored:
            # A part that is no array is returned as bytes, which np.asarray turns into an array of another type.
            pairs, mouth, start_s, motion = (
                np.asarray(stored[name]) for name in ("pairs", "mouth", "start_s", "motion")
            )
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} is incomplete: {error}") from None
    found = [(array.dtype, array.shape[1:]) for array in (pairs, mouth, motion)]
    expected = [(array.dtype, array.shape[1:]) for array in (NO_FACE.pairs, NO_FACE.mouth, NO_FACE.motion)]
    if found != expected or start_s.dtype != np.float64 or start_s.shape or not np.isfinite(start_s):
        raise ValueError(f"{path} does not contain a face")
    if (len(pairs), len(mouth)) == (0, 0):
        return None
    usable = len(motion) <= MAX_MOTION_STEPS and np.isfinite(motion).all()
    if len(pairs) != PAIRS or not 1 <= len(mouth) <= MAX_MOUTH_FRAMES or not usable:
        raise ValueError(f"{path} does not contain a face")
    return FaceFeatures(pairs, mouth, float(start_s), motion)


def halved(crop: np.ndarray) -> np.ndarray:
    """Return a crop (224, 224, 3) at half its size."""
    return cv2.resize(crop, (PAIR_PX, PAIR_PX), interpolation=cv2.INTER_AREA)


def mouth_series(crops: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Return the mouth of aligned crops (T, 224, 224, 3) at times (T,): grey levels (T', 24, 28) uint8 at `MOUTH_HZ`."""
    if crops.shape[1:] != (CROP_PX, CROP_PX, 3):
        raise ValueError(f"crops must be (T, {CROP_PX}, {CROP_PX}, 3), not {crops.shape}")
    grey = (cv2.cvtColor(crop[MOUTH_IN_CROP], cv2.COLOR_RGB2GRAY) for crop in crops)
    size = (MOUTH_COLUMNS, MOUTH_ROWS)
    small = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in grey]).astype(np.float32)
    # The tolerance includes a last frame that misses the grid only by round-off.
    count = min(MAX_MOUTH_FRAMES, int((times_s[-1] - times_s[0]) * MOUTH_HZ + 1e-3) + 1)
    grid = times_s[0] + np.arange(count) / MOUTH_HZ
    right = np.searchsorted(times_s, grid).clip(1, len(times_s) - 1)
    share = (grid - times_s[right - 1]) / (times_s[right] - times_s[right - 1])
    share = share.clip(0, 1).astype(np.float32)[:, None, None]
    return np.round(small[right - 1] * (1 - share) + small[right] * share).astype(np.uint8)
