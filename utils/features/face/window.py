"""The face of a clip's middle, gathered frame by frame during the one decoding pass in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from utils.features.face.crops import CutOut, FaceCrops, align, cut_out
from utils.features.face.detector import shared_detector
from utils.features.face.track import most_prominent, smooth_landmarks
from utils.media.decode import ClipStream, StreamFacts

WINDOW_FRAMES = 100
"""How many consecutive frames are looked at, at most."""

LOOK_EVERY = 5
"""Faces are searched in every fifth frame, and in the window's last one."""

LONGEST_S = 600
"""The middle of a longer clip is that of its beginning: no further is its sound kept, either."""

MOST_MISSES = 2
"""A face that is not found for more looks in a row than this has gone; one that comes back later is another span."""

LEAST_FRAMES = 2

ASSUMED_FPS = 25.0
"""For files that give neither times nor a frame rate."""

TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


@dataclass
class _Span:
    """An uninterrupted appearance of one face: frames `first` on, the looks that found it and what they found."""

    first: int
    box: np.ndarray
    looks: list[int] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)
    cut_outs: list[CutOut] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    misses: int = 0

    def see(self, number: int, box: np.ndarray, landmarks: np.ndarray) -> None:
        self.box, self.misses = box, 0
        self.looks.append(number)
        self.landmarks.append(landmarks)

    def end(self) -> None:
        """Drop the frames since the face was last seen, if a look has missed it there."""
        if self.misses:
            kept = self.looks[-1] - self.first + 1
            del self.cut_outs[kept:], self.times_s[kept:]

    def crops(self, found: float) -> FaceCrops:
        landmarks = np.stack(self.landmarks)
        looks = np.array(self.looks) - self.first
        moving = smooth_landmarks(looks, landmarks, len(self.cut_outs), LOOK_EVERY)
        local = np.stack([cut.locate(points) for cut, points in zip(self.cut_outs, moving, strict=True)])
        return FaceCrops(
            crops=align([cut.pixels for cut in self.cut_outs], local),
            times_s=np.array(self.times_s),
            eye_px=float(np.median(np.linalg.norm(landmarks[:, 0] - landmarks[:, 1], axis=-1))),
            found=found,
        )


class FaceWindow:
    """Follows the most prominent face over `WINDOW_FRAMES` frames in the middle of a clip.

    It is fed every frame of a pass; of the frames in the window it keeps scaled-down cut-outs, never a full one. Where the
    face goes and comes back, or another takes its place, the longest uninterrupted appearance counts.
    """

    def __init__(self, facts: StreamFacts, *, max_frames: int | None = None, n_frames: int | None = None) -> None:
        """Expect the frames of a running pass.

        Args:
            facts: the pass's own.
            max_frames: where the pass will end early.
            n_frames: the clip's true number of frames, where it is known; else the declared one decides where the middle is.
        """
        self._facts = facts
        self._max_frames = max_frames
        self._n_frames = n_frames
        self._first: int | None = None
        self._looks = self._finds = 0
        self._span: _Span | None = None
        self._best: _Span | None = None
        self._time_s = -np.inf

    @property
    def complete(self) -> bool:
        """Whether no further frame would be looked at."""
        return self._first is not None and self._facts.n_frames >= self._first + WINDOW_FRAMES

    @property
    def misplaced(self) -> bool:
        """Whether the clip was over before the window, though it has frames in front of it: the container had lied."""
        return bool(self._first) and not self.complete

    def add(self, frame: np.ndarray) -> None:
        """Take the pass's latest frame, (H, W, 3) uint8 RGB; it is not kept."""
        if self._first is None:
            self._first = self._middle()
        number = self._facts.n_frames - 1 - self._first
        if not 0 <= number < WINDOW_FRAMES:
            return
        turn = TURNS.get(round(self._facts.rotation_deg / 90) * 90 % 360)
        frame = frame if turn is None else cv2.rotate(frame, turn)
        if number % LOOK_EVERY == 0 or number == WINDOW_FRAMES - 1:
            self._look(frame, number)
        time_s = self._next_time()
        if self._span is not None:
            self._span.cut_outs.append(cut_out(frame, self._span.landmarks[-1]))
            self._span.times_s.append(time_s)

    def crops(self) -> FaceCrops | None:
        """The face's aligned crops; `None` without a face."""
        self._close()
        return None if self._best is None else self._best.crops(self._finds / self._looks)

    def _middle(self) -> int:
        frames = self._n_frames or self._facts.declared_frames
        if self._max_frames is not None:
            frames = min(frames, self._max_frames)
        if self._facts.fps:
            frames = min(frames, int(LONGEST_S * self._facts.fps))
        return max(0, (frames - WINDOW_FRAMES) // 2)

    def _next_time(self) -> float:
        """The frame's time; one that does not come after the frame before is replaced by the regular step."""
        step_s = 1 / (self._facts.fps or ASSUMED_FPS)
        regular_s = (self._facts.n_frames - 1) * step_s if np.isinf(self._time_s) else self._time_s + step_s
        stated_s = self._facts.frame_s
        self._time_s = regular_s if stated_s is None or stated_s <= self._time_s else float(stated_s)
        return self._time_s

    def _look(self, frame: np.ndarray, number: int) -> None:
        found = shared_detector()(frame)
        self._looks += 1
        pick = most_prominent(found, self._span.box if self._span else None)
        if pick is None and self._span is not None:
            self._span.misses += 1
            if self._span.misses <= MOST_MISSES:
                return
            self._close()
            pick = most_prominent(found, None)
        if pick is None:
            return
        if self._span is None:
            self._span = _Span(number, found.boxes[pick])
        self._span.see(number, found.boxes[pick], found.landmarks[pick])
        self._finds += 1

    def _close(self) -> None:
        span, self._span = self._span, None
        if span is None:
            return
        span.end()
        best = LEAST_FRAMES - 1 if self._best is None else len(self._best.cut_outs)
        if len(span.cut_outs) > best:
            self._best = span


def clip_faces(path: Path, *, max_frames: int | None = None, n_frames: int | None = None) -> FaceCrops | None:
    """Decode a clip's pictures and follow its most prominent face over at most `WINDOW_FRAMES` frames of the middle.

    Args:
        path: any container that libav reads.
        max_frames: frames from there on do not count.
        n_frames: the clip's true number of frames, where it is known.

    Returns:
        The face's crops; `None` without a face.

    Raises:
        MediaError: `missing_file` or `unreadable`.
    """
    stream = ClipStream(path, audio=False, max_frames=max_frames)
    window = FaceWindow(stream.facts, max_frames=max_frames, n_frames=n_frames)
    for frame in cast(Iterable[np.ndarray], stream):
        window.add(frame)
        if window.complete:
            break
    if window.misplaced and n_frames is None:
        return clip_faces(path, max_frames=max_frames, n_frames=stream.facts.n_frames)
    return window.crops()
