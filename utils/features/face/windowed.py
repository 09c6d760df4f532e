"""Faces of a clip for scoring: the tracked faces of each window."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from utils.features.base import ClipPass, Extractor
from utils.features.clip import FacePath
from utils.features.face.features import FaceExtractor, face_features
from utils.features.face.seconds import FaceSeconds
from utils.features.face.tracker import Track
from utils.features.face.window import WINDOW_FRAMES, FaceWindow
from utils.features.seconds import FacesAndSeconds
from utils.features.windows import (
    ASSUMED_FPS,
    CLIP_WINDOW_S,
    TrackedFace,
    WindowedFaces,
    frame_time_s,
    planned_duration_s,
    window_starts,
)


@dataclass
class _OpenWindow:
    number: int
    faces: FaceWindow


class WindowedFaceExtractor(Extractor):
    """Extractor that tracks the faces in the middle of each window of a long clip. A short clip is one window.

    Memory is bounded: few windows are open at a time, and a finished one keeps its features only.
    """

    def __init__(self, clip: ClipPass) -> None:
        """Create an extractor without frames."""
        self._clip = clip
        self._seconds = FaceSeconds(clip.facts) if clip.timeline else None
        self._single: FaceExtractor | None = None
        self._starts: np.ndarray | None = None
        self._waiting: deque[int] = deque()
        self._open: list[_OpenWindow] = []
        self._found: dict[int, list[TrackedFace]] = {}
        self._scored_path: FacePath | None = None

    def add_frame(self, frame: np.ndarray) -> None:
        """Track the faces in a frame."""
        if self._starts is None:
            self._starts = window_starts(planned_duration_s(self._clip))
            self._waiting.extend(range(len(self._starts)))
            if not len(self._starts):
                self._single = FaceExtractor(self._clip, others=True)
        if self._seconds is not None:
            self._seconds.add(frame)
        if self._single is not None:
            self._single.add_frame(frame)
            return
        facts = self._clip.facts
        while self._starts_window(frame_time_s(facts)):
            faces = FaceWindow(facts, first=facts.n_frames - 1, length=self._length, others=True)
            self._open.append(_OpenWindow(self._waiting.popleft(), faces))
        for window in self._open:
            window.faces.add(frame)
        while self._open and self._open[0].faces.complete:
            self._close_first()

    def needs_frame(self, time_s: float | None) -> bool:
        """Return whether the next frame is in a window, or is needed for the time line."""
        if self._starts is None or self._seconds is not None or self._open:
            return True
        if self._single is not None:
            return self._single.needs_frame(time_s)
        facts = self._clip.facts
        return self._starts_window(facts.n_frames / (facts.fps or ASSUMED_FPS) if time_s is None else time_s)

    @property
    def _length(self) -> int:
        return max(1, min(WINDOW_FRAMES, round(CLIP_WINDOW_S * (self._clip.facts.fps or ASSUMED_FPS))))

    def _starts_window(self, time_s: float) -> bool:
        """Return whether the next window starts at or before the frame at this time."""
        if self._starts is None or not self._waiting:
            return False
        fps = self._clip.facts.fps or ASSUMED_FPS
        # The tolerance includes a frame that misses the start only by round-off.
        lead_s = (CLIP_WINDOW_S - self._length / fps) / 2 - 0.5 / fps
        return time_s >= self._starts[self._waiting[0]] + lead_s

    def finish(self) -> Any:
        """Return the `WindowedFaces` of a long clip or of one with several faces, else see `FaceExtractor.finish`.

        For the time line, the value is wrapped in `FacesAndSeconds`.
        """
        value = self._faces()
        if self._seconds is None:
            return value
        return FacesAndSeconds(value, self._seconds.finish(), self._seconds.cuts_s, self._scored_path)

    def _faces(self) -> Any:
        if self._single is not None:
            window = self._single.window
            others = [] if window.misplaced else window.other_tracks()
            main = window.track()
            face = self._single.finish()
            if not others or main is None or face is None:
                self._scored_path = path_of(main) if main is not None and face is not None else None
                return face
            return WindowedFaces(
                np.zeros(0), [[TrackedFace(face, path_of(main)), *self._tracked(others, window.found)]]
            )
        while self._open:
            self._close_first()
        if self._starts is None:
            return None
        return WindowedFaces(self._starts, [self._found.get(number, []) for number in range(len(self._starts))])

    def _close_first(self) -> None:
        window = self._open.pop(0)
        main = window.faces.track()
        tracks = [] if main is None else [main, *window.faces.other_tracks()]
        self._found[window.number] = self._tracked(tracks, window.faces.found)

    def _tracked(self, tracks: list[Track], found: float) -> list[TrackedFace]:
        audio_start_s = self._clip.facts.audio_start_s or 0.0
        faces = []
        for track in tracks:
            face = face_features(track.crops(found))
            faces.append(TrackedFace(replace(face, start_s=face.start_s - audio_start_s), path_of(track)))
        return faces


def path_of(track: Track) -> FacePath:
    """Return the path of a track."""
    return FacePath(*track.path())
