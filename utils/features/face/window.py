"""Face tracking in the middle of a clip: frame by frame during the decoding pass, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np

from utils.features.face.crops import FaceCrops
from utils.features.face.tracker import DETECT_EVERY, FaceTracker, Track
from utils.features.windows import ASSUMED_FPS
from utils.media.decode import ClipStream, StreamFacts

WINDOW_FRAMES = 100
"""Length of the window: the face is tracked over at most this many consecutive frames."""

LONGEST_S = 600
"""The window is in the middle of this part of a longer clip. The limit is the same as for the waveform."""

LEAST_FRAMES = 2
LEAST_OTHER_FRAMES = 25
"""Least number of frames of a further face: a shorter one is not persistent, and its motion cannot be scored."""


class FaceWindow:
    """Tracker of the most prominent face over `WINDOW_FRAMES` frames in the middle of a clip.

    It receives every frame of a decoding pass. It stores downscaled cut-outs of the frames in the window and no full frame.
    If the face disappears and returns, another one replaces it, or there is a cut, the longest uninterrupted track is used.
    """

    def __init__(
        self,
        facts: StreamFacts,
        *,
        max_frames: int | None = None,
        n_frames: int | None = None,
        first: int | None = None,
        length: int | None = None,
        others: bool = False,
    ) -> None:
        """Start before the first frame of a decoding pass.

        Args:
            facts: facts about the stream, which the pass updates with every frame.
            max_frames: number of frames after which the pass ends early; `None` for all.
            n_frames: the clip's true number of frames if known; otherwise the window is placed by the declared number.
            first: number of the window's first frame; `None` for a window in the middle of the clip.
            length: number of its frames; `None` for `WINDOW_FRAMES`.
            others: whether other faces are tracked too, see `other_tracks`.
        """
        self._facts = facts
        self._max_frames = max_frames
        self._n_frames = n_frames
        self._first = first
        self._length = WINDOW_FRAMES if length is None else length
        self._tracker = FaceTracker(others=others)
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
        detect = number % DETECT_EVERY == 0 or number == self._length - 1
        self._tracker.add(frame, number, self._next_time(), detect=detect)

    def needs_frame(self) -> bool:
        """Return whether the next frame of the pass is in the window, or its position is not known yet."""
        return self._first is None or 0 <= self._facts.n_frames - self._first < self._length

    def track(self) -> Track | None:
        """Return the longest track of the most prominent face; `None` without a face."""
        self._tracker.end()
        tracks = [track for track in self._tracker.ended_main if len(track.cut_outs) >= LEAST_FRAMES]
        return max(tracks, key=lambda track: len(track.cut_outs), default=None)

    def other_tracks(self) -> list[Track]:
        """Return the tracks of persistent further faces: those beside the most prominent one, and those of other shots."""
        best = self.track()
        if best is None:
            return []
        shots = [track for track in self._tracker.ended_main if track.shot != best.shot]
        persistent = [
            track for track in self._tracker.ended_others + shots if len(track.cut_outs) >= LEAST_OTHER_FRAMES
        ]
        return sorted(persistent, key=lambda track: track.first)

    @property
    def found(self) -> float:
        """Share of the detections that found the most prominent face, 0 to 1."""
        return self._tracker.n_found / max(1, self._tracker.n_detections)

    def crops(self) -> FaceCrops | None:
        """Return the aligned crops of the face; `None` without a face."""
        track = self.track()
        return None if track is None else track.crops(self.found)

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
    stream.is_needed = lambda _: window.needs_frame()
    for frame in cast(Iterable[np.ndarray], stream):
        window.add(frame)
        if window.complete:
            break
    if window.misplaced and n_frames is None:
        return clip_faces(path, max_frames=max_frames, n_frames=stream.facts.n_frames)
    return window.crops()
