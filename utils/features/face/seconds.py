"""Tracking of the faces of a whole clip in bounded memory: each second of a face is reduced to its features."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from utils.features.clip import FacePath
from utils.features.face.crops import align
from utils.features.face.cuts import TIMELINE_COLOUR_CHANGE
from utils.features.face.features import FaceFeatures, halved, mouth_series
from utils.features.face.motion import motion_series
from utils.features.face.track import smooth_landmarks
from utils.features.face.tracker import DETECT_EVERY, FaceTracker, Track
from utils.features.seconds import LONGEST_TIMELINE_S, FaceSecond
from utils.features.windows import frame_time_s
from utils.media.decode import StreamFacts

PAIRS_PER_SECOND = 6
SETTLED_DETECTIONS = 3
"""Landmarks of a frame are final when this many detections follow it."""

LEAST_SECOND_FRAMES = 3


@dataclass(eq=False)
class _Pending:
    """Frames of a track that are not reduced to features yet, and the last frame before them."""

    number: int
    crops: list[np.ndarray] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    path: list[tuple[float, np.ndarray]] = field(default_factory=list)


class FaceSeconds:
    """Tracker of the faces of a clip for the time line."""

    def __init__(self, facts: StreamFacts) -> None:
        """Start before the first frame of a decoding pass that updates `facts`."""
        self._facts = facts
        self._tracker = FaceTracker(others=True, min_colour_change=TIMELINE_COLOUR_CHANGE)
        self._pending: dict[Track, _Pending] = {}
        self._seconds: list[FaceSecond] = []
        self._time_s = -np.inf

    def add(self, frame: np.ndarray) -> None:
        """Process the latest frame of the pass, (H, W, 3) uint8 RGB."""
        number = self._facts.n_frames - 1
        self._time_s = max(frame_time_s(self._facts), self._time_s + 1e-3)
        if self._time_s >= LONGEST_TIMELINE_S:
            return
        upright = self._facts.display.apply(frame)
        self._tracker.add(upright, number, self._time_s, detect=number % DETECT_EVERY == 0)
        if number % (4 * DETECT_EVERY) == 0:
            for track in self._open():
                self._settle(track, len(track.cut_outs) if track.ended else settled_frames(track))

    @property
    def cuts_s(self) -> tuple[float, ...]:
        """Times of the cuts so far, see `FaceTracker.cuts_s`."""
        return tuple(self._tracker.cuts_s)

    def finish(self) -> list[FaceSecond]:
        """Return the seconds of all faces, by track, then by time."""
        self._tracker.end()
        for track in self._open():
            self._settle(track, len(track.cut_outs))
        return sorted(self._seconds, key=lambda one: (one.track, one.second))

    def _open(self) -> list[Track]:
        tracker = self._tracker
        ended = tracker.ended_main + tracker.ended_others
        tracker.ended_main, tracker.ended_others = [], []
        for track in ended:
            track.ended = True
        return ended + ([] if tracker.main is None else [tracker.main]) + tracker.others

    def _settle(self, track: Track, count: int) -> None:
        """Align the first `count` frames of a track, and reduce complete seconds to features."""
        pending = self._pending.setdefault(track, _Pending(len(self._pending)))
        if count > 0:
            detected = np.array(track.detected) - track.first
            moving = smooth_landmarks(detected, np.stack(track.landmarks), count, DETECT_EVERY)
            parts = track.cut_outs[:count]
            local = np.stack([cut.locate(points) for cut, points in zip(parts, moving, strict=True)])
            pending.crops.extend(align([cut.pixels for cut in parts], local))
            pending.times_s.extend(track.times_s[:count])
            inside = zip(detected.tolist(), track.boxes, strict=True)
            pending.path += [(track.times_s[row], box) for row, box in inside if 0 <= row < count]
            track.drop(count)
        last = np.inf if track.ended else int(pending.times_s[-1]) if pending.times_s else 0
        while pending.times_s and int(pending.times_s[0]) < last:
            self._reduce(pending, int(pending.times_s[0]))

    def _reduce(self, pending: _Pending, second: int) -> None:
        times_s = np.array(pending.times_s)
        count = int((times_s.astype(int) == second).sum())
        # The first frame of the next second makes the last step of motion.
        with_next = slice(0, count + 1)
        if count >= LEAST_SECOND_FRAMES:
            crops, own_s = np.stack(pending.crops[with_next]), times_s[with_next]
            features = second_features(crops, own_s, count)
            path = [(time_s, box) for time_s, box in pending.path if int(time_s) == second] or pending.path[-1:]
            found = FacePath(np.array([time_s for time_s, _ in path]), np.array([box for _, box in path], np.float32))
            self._seconds.append(FaceSecond(pending.number, second, features, found))
        del pending.crops[:count], pending.times_s[:count]


def second_features(crops: np.ndarray, times_s: np.ndarray, count: int) -> FaceFeatures:
    """Return the features of one second: of its `count` frames, and of the first one that follows if there is one."""
    first = np.round(np.linspace(0, len(crops) - 2, PAIRS_PER_SECOND)).astype(int)
    pairs = np.stack([np.stack([halved(crops[row]), halved(crops[row + 1])]) for row in first])
    mouth = mouth_series(crops[:count], times_s[:count])
    return FaceFeatures(pairs, mouth, float(times_s[0]), motion_series(crops, times_s))


def settled_frames(track: Track) -> int:
    """Return the number of frames of an open track, from its first one, whose landmarks are final."""
    if len(track.detected) <= SETTLED_DETECTIONS:
        return 0
    return max(0, min(len(track.cut_outs), track.detected[-SETTLED_DETECTIONS] - track.first))
