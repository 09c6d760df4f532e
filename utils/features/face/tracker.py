"""Tracking of faces through a shot: the most prominent face, and other large faces beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from utils.features.face.crops import CutOut, CutRegion, FaceCrops, align, cut_region
from utils.features.face.cuts import MIN_COLOUR_CHANGE, CutDetector
from utils.features.face.detector import Detections, overlap, shared_detector
from utils.features.face.track import most_prominent, smooth_landmarks

DETECT_EVERY = 5
"""Interval of face detection, in frames."""

MOST_MISSES = 2
"""A track ends after more consecutive missed detections than this. A face that returns later starts a new track."""

MOST_OTHERS = 3
"""Largest number of faces that are tracked beside the most prominent one at a time."""

LEAST_OTHER_SIDE = 0.5
"""Least side of another face relative to the most prominent one. Smaller ones are mostly bystanders and pictures."""

LEAST_OTHER_PX = 32
LEAST_OTHER_SCORE = 0.9
LEAST_OTHER_OVERLAP = 0.3


MEMORY_DETECTIONS = 5
"""Detections this far before a frame do not affect its smoothed landmarks."""


@dataclass(eq=False)
class Track:
    """An uninterrupted track of one face.

    Attributes:
        first: number of its first frame.
        box: (4,) px, the latest detected box.
        shot: number of its shot.
        detected: numbers of the frames in which it was detected.
        boxes: (4,) px per detection.
        landmarks: (5, 2) px per detection.
        cut_outs: one per frame, from `first` on.
        times_s: presentation time of each of these frames.
        region: the part of the frame that is cut out until the next detection; `None` if it is not determined yet.
        misses: missed detections since the latest one.
        ended: whether no frame will follow.
    """

    first: int
    box: np.ndarray
    shot: int = 0
    detected: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)
    cut_outs: list[CutOut] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    region: CutRegion | None = None
    misses: int = 0
    ended: bool = False

    def update(self, number: int, box: np.ndarray, landmarks: np.ndarray) -> None:
        """Add a detection."""
        self.box, self.region, self.misses = box, None, 0
        self.detected.append(number)
        self.boxes.append(box)
        self.landmarks.append(landmarks)

    def add(self, frame: np.ndarray, time_s: float) -> None:
        """Cut the face out of the next frame (H, W, 3) uint8."""
        shape = frame.shape[:2]
        if self.region is None or self.region.shape != shape:
            self.region = cut_region(self.landmarks[-1], shape)
        self.cut_outs.append(self.region.cut_out(frame))
        self.times_s.append(time_s)

    def end(self) -> None:
        """Drop the frames after the last detection if a later detection missed the face."""
        if self.misses:
            kept = self.detected[-1] - self.first + 1
            del self.cut_outs[kept:], self.times_s[kept:]

    def drop(self, count: int) -> None:
        """Drop the first `count` frames, and detections so long before the others that they no longer affect these."""
        del self.cut_outs[:count], self.times_s[:count]
        self.first += count
        while len(self.detected) > 1 and self.detected[0] < self.first - MEMORY_DETECTIONS * DETECT_EVERY:
            for series in (self.detected, self.boxes, self.landmarks):
                del series[0]

    def crops(self, found: float) -> FaceCrops:
        """Return the aligned crops of all frames."""
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

    def path(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the times (D,) float64 and boxes (D, 4) float32 of the detections."""
        inside = [number - self.first for number in self.detected if number - self.first < len(self.times_s)]
        return np.array([self.times_s[row] for row in inside]), np.stack(self.boxes[: len(inside)]).astype(np.float32)


class FaceTracker:
    """Tracker of faces in consecutive frames. A track ends at a cut, or after missed detections.

    Attributes:
        main: the track of the most prominent face; `None` without one.
        others: tracks of other large faces.
        ended_main: ended tracks of the most prominent face.
        ended_others: ended tracks of other faces.
        n_detections: number of frames in which faces were detected.
        n_found: number of these frames in which the most prominent face was found.
        cuts_s: presentation time of the first frame after each cut.
    """

    def __init__(self, *, others: bool = False, min_colour_change: float = MIN_COLOUR_CHANGE) -> None:
        """Start without tracks. With `others`, further large faces are tracked too; for the rest, see `CutDetector`."""
        self.main: Track | None = None
        self.others: list[Track] = []
        self.ended_main: list[Track] = []
        self.ended_others: list[Track] = []
        self.n_detections = self.n_found = 0
        self.cuts_s: list[float] = []
        self._wants_others = others
        self._is_cut = CutDetector(min_colour_change)
        self._shot = 0

    def add(self, frame: np.ndarray, number: int, time_s: float, *, detect: bool) -> None:
        """Process an upright frame (H, W, 3) uint8. Faces are detected if `detect` is set, and after a cut."""
        if self._is_cut(frame):
            self.end()
            self._shot += 1
            self.cuts_s.append(time_s)
            detect = True
        if detect:
            found = shared_detector()(frame, least_side_px=self._least_side())
            self.n_detections += 1
            pick = self._follow_main(found, number)
            if self._wants_others:
                self._follow_others(found, number, pick)
        for track in ([] if self.main is None else [self.main]) + self.others:
            track.add(frame, time_s)

    def end(self) -> None:
        """End all tracks."""
        self._end_main()
        for track in list(self.others):
            self._end_other(track)

    def _least_side(self) -> float:
        """Return the side in px below which a face of the next frame would not be tracked."""
        if self.main is None or self.main.misses:
            return 0.0
        return LEAST_OTHER_SIDE * side_of(self.main.box)

    def _follow_main(self, found: Detections, number: int) -> int | None:
        pick = most_prominent(found, self.main.box if self.main else None)
        if pick is None and self.main is not None:
            self.main.misses += 1
            if self.main.misses <= MOST_MISSES:
                return None
            self._end_main()
            pick = most_prominent(found, None)
        if pick is None:
            return None
        if self.main is None:
            self.main = Track(number, found.boxes[pick], self._shot)
        self.main.update(number, found.boxes[pick], found.landmarks[pick])
        self.n_found += 1
        return pick

    def _follow_others(self, found: Detections, number: int, pick: int | None) -> None:
        free = {row for row in range(len(found)) if row != pick}
        for track in list(self.others):
            near = {row: overlap(found.boxes[row], track.box) for row in free}
            best = max(near, key=near.__getitem__, default=None)
            if best is not None and near[best] >= LEAST_OTHER_OVERLAP:
                free.remove(best)
                track.update(number, found.boxes[best], found.landmarks[best])
                continue
            track.misses += 1
            if track.misses > MOST_MISSES or (pick is not None and overlap(found.boxes[pick], track.box) > 0.5):
                self._end_other(track)
        if self.main is None:
            return
        least = max(LEAST_OTHER_PX, LEAST_OTHER_SIDE * side_of(self.main.box))
        for row in sorted(free):
            large = side_of(found.boxes[row]) >= least and found.scores[row] >= LEAST_OTHER_SCORE
            if large and np.isfinite(found.landmarks[row]).all() and len(self.others) < MOST_OTHERS:
                track = Track(number, found.boxes[row], self._shot)
                track.update(number, found.boxes[row], found.landmarks[row])
                self.others.append(track)

    def _end_main(self) -> None:
        if self.main is not None:
            self.main.end()
            self.ended_main.append(self.main)
            self.main = None

    def _end_other(self, track: Track) -> None:
        track.end()
        self.others.remove(track)
        self.ended_others.append(track)


def side_of(box: np.ndarray) -> float:
    """Return the side of the square with the area of a box (4,), in px."""
    return float(np.sqrt(np.maximum(box[2:] - box[:2], 0.0).prod()))
