"""Tracking of one face through a clip, and pasting of forged crops back into the frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from utils.features.face.crops import CROP_PX, TEMPLATE, align, similarity, size_of
from utils.features.face.detector import shared_detector
from utils.features.face.track import most_prominent, smooth_landmarks
from utils.features.face.tracker import DETECT_EVERY, MOST_MISSES
from utils.media.decode import ClipStream

LONGEST_TRACK = 250
"""Maximum number of frames of a forged face, because its crops are held in memory."""

EDGE_PX = 12
"""Width of the crop's edge in px over which a pasted face fades out."""

AREA_BELOW = 0.75
"""Below this scale factor, crops are area-averaged first to avoid aliasing."""


@dataclass(frozen=True)
class TrackedFace:
    """A face over consecutive frames.

    Attributes:
        first: index of the first frame.
        landmarks: (T, 5, 2) float32, in px of the upright frames.
        n_frames: number of frames in the whole clip.
    """

    first: int
    landmarks: np.ndarray
    n_frames: int

    @property
    def end(self) -> int:
        """Index of the frame after the last one."""
        return self.first + len(self.landmarks)


@dataclass
class _Appearance:
    """An uninterrupted appearance of one face: its last box, and detections by frame number."""

    box: np.ndarray
    detections: list[int] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)
    misses: int = 0
    tail: int = 0

    @property
    def length(self) -> int:
        return self.detections[-1] - self.detections[0] + 1 + self.tail


def upright_frames(stream: ClipStream) -> Iterator[np.ndarray]:
    """Yield the frames of a clip (H, W, 3) uint8 in display orientation, cropped to even sides for the encoder.

    A frame is a view of the decoder's memory, valid until the next frame.
    """
    for frame in stream:
        if isinstance(frame, np.ndarray):
            upright = stream.facts.display.apply(frame)
            yield upright[: upright.shape[0] // 2 * 2, : upright.shape[1] // 2 * 2]


def track_face(path: Path) -> TrackedFace | None:
    """Return the longest uninterrupted appearance of a clip's most prominent face, cut to `LONGEST_TRACK` frames.

    Raises:
        MediaError: see `open_clip`.
    """
    best: _Appearance | None = None
    now: _Appearance | None = None
    stream = ClipStream(path, audio=False)
    for number, frame in enumerate(upright_frames(stream)):
        if number % DETECT_EVERY:
            continue
        found = shared_detector()(frame)
        pick = most_prominent(found, None if now is None else now.box)
        if pick is None and now is not None:
            now.misses += 1
            if now.misses <= MOST_MISSES:
                continue
            now, pick = None, most_prominent(found, None)
        if pick is None:
            continue
        now = now or _Appearance(found.boxes[pick])
        now.box, now.misses = found.boxes[pick], 0
        now.detections.append(number)
        now.landmarks.append(found.landmarks[pick])
        if best is None or now.length > best.length:
            best = now
    if now is not None and not now.misses:
        now.tail = stream.facts.n_frames - 1 - now.detections[-1]  # the face is assumed to stay until the end
    return None if best is None else middle_of(best, stream.facts.n_frames)


def middle_of(appearance: _Appearance, n_frames: int) -> TrackedFace:
    """Return the middle of an appearance as a track, in a clip of `n_frames` frames."""
    detected = np.array(appearance.detections)
    landmarks = smooth_landmarks(
        detected - detected[0], np.stack(appearance.landmarks), appearance.length, DETECT_EVERY
    )
    start = max(0, (appearance.length - LONGEST_TRACK) // 2)
    return TrackedFace(int(detected[0]) + start, landmarks[start : start + LONGEST_TRACK], n_frames)


def track_crops(path: Path, track: TrackedFace) -> np.ndarray:
    """Return the aligned crops of a track, (T, 224, 224, 3) uint8 RGB.

    Raises:
        MediaError: see `open_clip`.
    """
    frames = islice(upright_frames(ClipStream(path, audio=False)), track.first, track.end)
    crops = [align([frame], points[None])[0] for frame, points in zip(frames, track.landmarks, strict=False)]
    return np.stack(crops)


def paste_back(frame: np.ndarray, crop: np.ndarray, mask: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Paste a forged crop over the face that it was cut from.

    Args:
        frame: (H, W, 3) uint8, upright.
        crop: (224, 224, 3) uint8.
        mask: (224, 224, 1) float32, the opacity of the crop.
        landmarks: (5, 2) px of the face in the frame.

    Returns:
        (H, W, 3) uint8; unchanged where the mask is 0, and outside the crop.
    """
    matrix = similarity(landmarks, TEMPLATE)
    face, share = crop, mask[..., 0] * edge_window()
    shrink = 1 / size_of(matrix)
    if shrink < AREA_BELOW:
        side = max(1, round(CROP_PX * shrink))
        face, share = (cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in (face, share))
        # Pixel centres are at half-integer positions, so half a pixel is subtracted before scaling and added afterwards.
        matrix = np.vstack([matrix, [0, 0, 1]])
        factor = side / CROP_PX
        matrix = (np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2]]) @ matrix)[:2]
    size, back = (frame.shape[1], frame.shape[0]), cv2.WARP_INVERSE_MAP
    face = cv2.warpAffine(face, matrix, size, flags=cv2.INTER_CUBIC | back, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(share, matrix, size, flags=cv2.INTER_LINEAR | back)[..., None]
    pasted = frame + share * (face.astype(np.float32) - frame)
    return np.clip(np.round(pasted), 0, 255).astype(np.uint8)


def edge_window() -> np.ndarray:
    """Return a window (224, 224) float32 that is 1 inside a crop and falls to 0 over its outer `EDGE_PX`."""
    inside = np.minimum(np.arange(CROP_PX), np.arange(CROP_PX)[::-1]) / EDGE_PX
    fall = np.clip(inside, 0, 1).astype(np.float32)
    return np.minimum(fall[:, None], fall[None])
