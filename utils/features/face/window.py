"""Face tracking in the middle of a clip: frame by frame during the decoding pass, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from utils.features.face.crops import CutOut, FaceCrops, align, cut_out
from utils.features.face.detector import shared_detector
from utils.features.face.track import most_prominent, smooth_landmarks
from utils.features.windows import ASSUMED_FPS
from utils.media.decode import ClipStream, StreamFacts

WINDOW_FRAMES = 100
"""Length of the window: the face is tracked over at most this many consecutive frames."""

DETECT_EVERY = 5
"""Interval of face detection, in frames. Faces are also detected in the last frame of the window."""

LONGEST_S = 600
"""The window is in the middle of this part of a longer clip. The limit is the same as for the waveform."""

MOST_MISSES = 2
"""A track ends after more consecutive missed detections than this. A face that returns later starts a new track."""

LEAST_FRAMES = 2


@dataclass
class _Span:
    """An uninterrupted track of one face.

    Attributes:
        first: number of its first frame in the window.
        box: (4,) px, the latest detected box.
        detected: numbers of the frames in which it was detected.
        landmarks: (5, 2) px per detection.
        cut_outs: one per frame, from `first` on.
        times_s: presentation time of each of these frames.
        misses: missed detections since the latest one.
    """

    first: int
    box: np.ndarray
    detected: list[int] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)
    cut_outs: list[CutOut] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    misses: int = 0

    def update(self, number: int, box: np.ndarray, landmarks: np.ndarray) -> None:
        self.box, self.misses = box, 0
        self.detected.append(number)
        self.landmarks.append(landmarks)

    def end(self) -> None:
        """Drop the frames after the last detection if a later detection missed the face."""
        if self.misses:
            kept = self.detected[-1] - self.first + 1
            del self.cut_outs[kept:], self.times_s[kept:]

    def crops(self, found: float) -> FaceCrops:
        landmarks = np.stack(self.landmarks)
        detected = np.array(self.detected) - self.first
        moving = smooth_landmarks(detected, landmarks, len(self.cut_outs), DETECT_EVERY)
        local = np.stack([cut.locate(points) for cut, points in zip(self.cut_outs, moving, strict=True)])
        return FaceCrops(
            crops=align([cut.pixels for cut in self.cut_outs], local),
            times_s=np.array(self.times_s),
            eye_px=float(np.median(np.linalg.norm(landmarks[:, 0] - landmarks[:, 1], axis=-1))),
            found=found,
        )


class FaceWindow:
    """Tracker of the most prominent face over `WINDOW_FRAMES` frames in the middle of a clip.

    It receives every frame of a decoding pass. It stores downscaled cut-outs of the frames in the window and no full frame.
    If the face disappears and returns, or another one replaces it, the longest uninterrupted track is used.
    """

    def __init__(
        self,
        facts: StreamFacts,
        *,
        max_frames: int | None = None,
        n_frames: int | None = None,
        first: int | None = None,
        length: int | None = None,
    ) -> None:
        """Start before the first frame of a decoding pass.

        Args:
            facts: facts about the stream, which the pass updates with every frame.
            max_frames: number of frames after which the pass ends early; `None` for all.
            n_frames: the clip's true number of frames if known; otherwise the window is placed by the declared number.
            first: number of the window's first frame; `None` for a window in the middle of the clip.
            length: number of its frames; `None` for `WINDOW_FRAMES`.
        """
        self._facts = facts
        self._max_frames = max_frames
        self._n_frames = n_frames
        self._first = first
        self._length = WINDOW_FRAMES if length is None else length
        self._n_detections = self._n_found = 0
        self._span: _Span | None = None
        self._best: _Span | None = None
        self._time_s = -np.inf

    @property
    def complete(self) -> bool:
        """Whether the last frame of the window has been received."""
        return self._first is not None and self._facts.n_frames >= self._first + self._length

    @property
    def misplaced(self) -> bool:
        """Whether the clip ended before the window did, although frames precede the window: the declared length was wrong."""
        return bool(self._first) and not self.complete

    def add(self, frame: np.ndarray) -> None:
        """Process the latest frame of the pass, (H, W, 3) uint8 RGB. The array is not stored."""
        if self._first is None:
            self._first = self._middle()
        number = self._facts.n_frames - 1 - self._first
        if not 0 <= number < self._length:
            return
        frame = self._facts.display.apply(frame)
        if number % DETECT_EVERY == 0 or number == self._length - 1:
            self._detect(frame, number)
        time_s = self._next_time()
        if self._span is not None:
            self._span.cut_outs.append(cut_out(frame, self._span.landmarks[-1]))
            self._span.times_s.append(time_s)

    def crops(self) -> FaceCrops | None:
        """Return the aligned crops of the face; `None` without a face."""
        self._close()
        return None if self._best is None else self._best.crops(self._n_found / self._n_detections)

    def _middle(self) -> int:
        frames = self._n_frames or self._facts.declared_frames
        if self._max_frames is not None:
            frames = min(frames, self._max_frames)
        if self._facts.fps:
            frames = min(frames, int(LONGEST_S * self._facts.fps))
        return max(0, (frames - WINDOW_FRAMES) // 2)

    def _next_time(self) -> float:
        """Return the presentation time of the frame; a time that does not increase is replaced by a regular step."""
        step_s = 1 / (self._facts.fps or ASSUMED_FPS)
        regular_s = (self._facts.n_frames - 1) * step_s if np.isinf(self._time_s) else self._time_s + step_s
        stated_s = self._facts.frame_s
        self._time_s = regular_s if stated_s is None or stated_s <= self._time_s else float(stated_s)
        return self._time_s

    def _detect(self, frame: np.ndarray, number: int) -> None:
        found = shared_detector()(frame)
        self._n_detections += 1
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
        self._span.update(number, found.boxes[pick], found.landmarks[pick])
        self._n_found += 1

    def _close(self) -> None:
        span, self._span = self._span, None
        if span is None:
            return
        span.end()
        best = LEAST_FRAMES - 1 if self._best is None else len(self._best.cut_outs)
        if len(span.cut_outs) > best:
            self._best = span


def clip_faces(path: Path, *, max_frames: int | None = None, n_frames: int | None = None) -> FaceCrops | None:
    """Decode a clip's frames and track its most prominent face over at most `WINDOW_FRAMES` frames of the middle.

    Args:
        path: any container that libav reads.
        max_frames: number of frames to use; `None` for all.
        n_frames: the clip's true number of frames if known.

    Returns:
        The aligned crops; `None` without a face.

    Raises:
        MediaError: see `open_clip`.
    """
    stream = ClipStream(path, audio=False, max_frames=max_frames, count_undeclared=n_frames is None)
    window = FaceWindow(stream.facts, max_frames=max_frames, n_frames=n_frames)
    for frame in cast(Iterable[np.ndarray], stream):
        window.add(frame)
        if window.complete:
            break
    if window.misplaced and n_frames is None:
        return clip_faces(path, max_frames=max_frames, n_frames=stream.facts.n_frames)
    return window.crops()
