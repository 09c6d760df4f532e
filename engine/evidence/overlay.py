"""Drawing into the frames of a rendered clip: face boxes, and a panel with the verdict and the time line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from engine.evidence.panel import TEXT, Panel, colour_of, put_text, text_size
from engine.timeline.lanes import face_note
from engine.timeline.types import FaceTrack

if TYPE_CHECKING:
    from engine.detector import Score

FACE_GAP_S = 0.5
"""A box is shown up to this long before and after a detection of its track, but not beyond the nearest cut."""


class Overlay:
    """The overlay of one clip. The frame keeps its size; a panel below it shows the time line.

    Attributes:
        size: height and width of the drawn frames, both even.
    """

    def __init__(self, score: Score, frame_size: tuple[int, int], end_s: float) -> None:
        """Draw the panel; `frame_size` is height and width of the drawn frames, `end_s` the end of the time line."""
        height, width = frame_size
        self._score, self._frame_size = score, frame_size
        self._cuts_s = np.array(score.cuts_s)
        self._panel = Panel(score, frame_size, end_s)
        self.size = (height + self._panel.height, width)

    def draw(self, frame: np.ndarray, time_s: float) -> np.ndarray:
        """Return an upright frame (H, W, 3) uint8 RGB, scaled to `size`, with the overlay at a time."""
        height, width = self._frame_size
        scale = np.array([width / frame.shape[1], height / frame.shape[0]] * 2)
        if frame.shape[:2] != self._frame_size:
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        drawn = np.concatenate([frame, self._panel.at(time_s)])
        for track in self._score.faces:
            box = box_at(track, time_s)
            if box is not None and not self._is_cut_between(track, time_s):
                self._draw_box(drawn[:height], track, box * scale)
        return drawn

    def _is_cut_between(self, track: FaceTrack, time_s: float) -> bool:
        """Return whether a cut separates a time from a track, which otherwise would reach into the next shot."""
        before, after = min(time_s, track.start_s), max(time_s, track.end_s)
        cuts_s = self._cuts_s
        return bool(((before < cuts_s) & (cuts_s <= track.start_s) | (track.end_s < cuts_s) & (cuts_s <= after)).any())

    def _draw_box(self, frame: np.ndarray, track: FaceTrack, box: np.ndarray) -> None:
        """Draw a box with its label on a plate: above it, or below its upper edge where there is no space above."""
        left, top, right, bottom = (round(float(value)) for value in box)
        colour = colour_of(track.score, self._score.thresholds)
        unit = self._panel.unit
        cv2.rectangle(frame, (left, top), (right, bottom), colour, max(1, round(3 * unit)))
        label = face_note(track)
        (width, height), pad = text_size(label, TEXT * unit), max(2, round(5 * unit))
        x = min(max(left, 0), max(0, frame.shape[1] - width - 2 * pad))
        y = top - height - 2 * pad if top >= height + 2 * pad else max(0, top)
        cv2.rectangle(frame, (x, y), (x + width + 2 * pad, y + height + 2 * pad), colour, cv2.FILLED)
        put_text(frame, label, (x + pad, y + pad + height), TEXT * unit, (0, 0, 0))


def box_at(track: FaceTrack, time_s: float) -> np.ndarray | None:
    """Return the box (4,) of a face at a time, linear between detections; `None` when it is not in the picture."""
    if not len(track.times_s) or not track.start_s - FACE_GAP_S <= time_s <= track.end_s + FACE_GAP_S:
        return None
    if time_s < track.times_s[0] - FACE_GAP_S or time_s > track.times_s[-1] + FACE_GAP_S:
        return None
    return np.array([np.interp(time_s, track.times_s, edge) for edge in track.boxes.T])
