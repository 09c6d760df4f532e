"""Drawing into the frames of a rendered clip: verdict, face boxes, and the time line with a moving mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from engine.timeline.types import FaceTrack

if TYPE_CHECKING:
    from engine.detector import Score

FAKE, REAL, NEUTRAL, PALE, DARK = (240, 110, 60), (80, 180, 225), (205, 205, 205), (150, 150, 150), (18, 21, 26)
COLOURS = {"fake": FAKE, "real": REAL}
FONT = cv2.FONT_HERSHEY_SIMPLEX
NOTE = "estimate of a detector, not proof"
FACE_GAP_S = 0.5
"""A box is shown up to this long before and after a detection."""


@dataclass(frozen=True)
class OverlayText:
    """The texts of the overlay.

    Attributes:
        title: verdict and score.
        note: what the verdict is not.
    """

    title: str
    note: str = NOTE

    @classmethod
    def of(cls, score: Score) -> OverlayText:
        """Return the texts for a score."""
        return cls(score.verdict if score.score is None else f"{score.verdict}  {score.score:.2f}")


class Overlay:
    """The overlay of one clip. The frame keeps its size; a panel below it shows the time line.

    Attributes:
        size: height and width of the drawn frames, both even.
    """

    def __init__(self, score: Score, frame_size: tuple[int, int], end_s: float) -> None:
        """Draw the panel; `frame_size` is height and width of the drawn frames, `end_s` the end of the time line."""
        height, width = frame_size
        self._score, self._end_s, self._frame_size = score, end_s, frame_size
        self._unit = max(0.5, min(height, width) / 800)
        self._panel = self._draw_panel(
            OverlayText.of(score), width, 2 * round(max(56, 0.13 * min(height, width) + 30) / 2)
        )
        self.size = (height + len(self._panel), width)

    def draw(self, frame: np.ndarray, time_s: float) -> np.ndarray:
        """Return an upright frame (H, W, 3) uint8 RGB, scaled to `size`, with the overlay at a time."""
        height, width = self._frame_size
        scale = np.array([width / frame.shape[1], height / frame.shape[0]] * 2)
        if frame.shape[:2] != self._frame_size:
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        drawn = np.concatenate([frame, self._panel])
        for track in self._score.faces:
            box = box_at(track, time_s)
            if box is not None:
                self._draw_box(drawn[:height], track, box * scale)
        x = self._x(time_s)
        cv2.line(drawn, (x, height + 2), (x, len(drawn) - 3), (255, 255, 255), max(1, round(2 * self._unit)))
        return drawn

    def _x(self, time_s: float) -> int:
        width = self._panel.shape[1]
        return min(width - 1, max(0, round(time_s / self._end_s * (width - 1))))

    def _draw_box(self, frame: np.ndarray, track: FaceTrack, box: np.ndarray) -> None:
        left, top, right, bottom = (round(float(value)) for value in box)
        colour = self._colour(track.score)
        cv2.rectangle(frame, (left, top), (right, bottom), colour, max(1, round(3 * self._unit)))
        label = f"face {track.number}" + ("" if track.score is None else f"  {track.score:.2f}")
        self._put(frame, label, (left, max(round(22 * self._unit), top - round(8 * self._unit))), 0.8, colour)

    def _colour(self, score: float | None) -> tuple[int, int, int]:
        if score is None:
            return NEUTRAL
        thresholds = self._score.thresholds
        if score >= thresholds["fake"]:
            return FAKE
        return REAL if score < thresholds.get("real", thresholds["fake"]) else NEUTRAL

    def _put(
        self, image: np.ndarray, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int]
    ) -> None:
        scale = size * self._unit
        cv2.putText(image, text, at, FONT, scale, (0, 0, 0), max(2, round(5 * scale)), cv2.LINE_AA)
        cv2.putText(image, text, at, FONT, scale, colour, max(1, round(2 * scale)), cv2.LINE_AA)

    def _draw_panel(self, text: OverlayText, width: int, height: int) -> np.ndarray:
        panel = np.full((height, width, 3), DARK, np.uint8)
        self._panel = panel
        timeline, score = self._score.timeline, self._score
        row = round(30 * self._unit)
        top, bottom = row + 4, height - 4
        for span in score.spans:
            panel[top:bottom, self._x(span.start_s) : self._x(span.end_s) + 1] = (84, 44, 32)
        for finding in score.findings:
            panel[row : row + 4, self._x(finding.start_s) : self._x(finding.end_s) + 1] = (150, 160, 255)
        for value in score.thresholds.values():
            y = round(bottom - value * (bottom - top))
            panel[y, ::6] = PALE
        if timeline is not None:
            for start_s, end_s, value in zip(timeline.start_s, timeline.end_s, timeline.score, strict=True):
                if np.isfinite(value):
                    middle = (start_s + end_s) / 2
                    half = max(2, round(0.4 * self._x(end_s - start_s)))
                    y = round(bottom - float(value) * (bottom - top))
                    x = self._x(middle)
                    cv2.line(
                        panel, (x - half, y), (x + half, y), self._colour(float(value)), max(2, round(3 * self._unit))
                    )
        self._put(panel, text.title, (8, row - 4), 0.85, COLOURS.get(score.verdict, NEUTRAL))
        size = cv2.getTextSize(text.note, FONT, 0.6 * self._unit, 1)[0][0]
        title = cv2.getTextSize(text.title, FONT, 0.85 * self._unit, 2)[0][0]
        if size + title + 40 < width:
            self._put(panel, text.note, (width - size - 10, row - 6), 0.6, PALE)
        return panel


def box_at(track: FaceTrack, time_s: float) -> np.ndarray | None:
    """Return the box (4,) of a face at a time, linear between detections; `None` when it is not in the picture."""
    if not len(track.times_s) or not track.start_s - FACE_GAP_S <= time_s <= track.end_s + FACE_GAP_S:
        return None
    if time_s < track.times_s[0] - FACE_GAP_S or time_s > track.times_s[-1] + FACE_GAP_S:
        return None
    return np.array([np.interp(time_s, track.times_s, edge) for edge in track.boxes.T])
