"""Panel below the frames of a rendered clip: verdict, values at the current time, time line with cuts, and tracked faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from engine.report.times import clock, time_ticks
from engine.report.wording import expert_label
from engine.timeline.lanes import face_lanes
from engine.timeline.types import FaceTrack

if TYPE_CHECKING:
    from engine.detector import Score

Colour = tuple[int, int, int]
FAKE, REAL, NEUTRAL, PALE, DARK = (240, 110, 60), (80, 180, 225), (205, 205, 205), (165, 165, 165), (18, 21, 26)
WHITE, SPAN, FINDING = (255, 255, 255), (84, 44, 32), (150, 160, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX
NOTES = ("estimate of a detector, not proof", "estimate, not proof", "not proof")
"""What the verdict is not; the longest one that fits is shown."""

LEAST_UNIT, UNIT_SIDE_PX = 0.6, 800
"""Text has size 1 in frames with a shorter side of `UNIT_SIDE_PX`, and is never smaller than `LEAST_UNIT` of it."""

MOST_LANES = 3
TEXT, SMALL = 0.75, 0.6


class Panel:
    """The panel of one clip.

    Attributes:
        unit: scale of text and lines.
        height: its height in px, an even number.
    """

    def __init__(self, score: Score, frame_size: tuple[int, int], end_s: float) -> None:
        """Draw what does not change; `frame_size` is height and width of the frames, `end_s` the end of the time line."""
        self._score, self._end_s, self._width = score, end_s, frame_size[1]
        self.unit = max(LEAST_UNIT, min(frame_size) / UNIT_SIDE_PX)
        self._pad = max(4, round(8 * self.unit))
        line = text_size("Ag", TEXT * self.unit)[1] + self._pad
        small = text_size("0", SMALL * self.unit)[1] + self._pad
        self._line = line
        self._top = 2 * line + self._pad
        self._bottom = self._top + round(90 * self.unit)
        self._lanes = face_lanes(score.faces)
        self._lane_px = small if len(self._lanes) <= MOST_LANES else MOST_LANES * small // len(self._lanes)
        self._axis = self._bottom + self._pad // 2 + len(self._lanes) * self._lane_px
        self.height = 2 * ((self._axis + small + self._pad // 2 + 1) // 2)
        self._labels = {f"{name} {value:.2f}": value for name, value in score.thresholds.items()}
        self._right = self._width - max(text_size(text, SMALL * self.unit)[0] for text in self._labels) - self._pad
        self._timeline = None if score.timeline is None else score.timeline.without_sync
        self._parts = [] if score.timeline is None else score.timeline.parts(end_s)
        self._still = self._draw()

    def at(self, time_s: float) -> np.ndarray:
        """Return the panel (H, W, 3) uint8 RGB at a time."""
        panel, unit = self._still.copy(), self.unit
        put_text(panel, self._status(time_s), (self._pad, 2 * self._line), TEXT * unit, WHITE)
        x = self._x(time_s)
        cv2.line(panel, (x, self._top - 2), (x, self._axis), WHITE, max(1, round(2 * unit)))
        return panel

    def _status(self, time_s: float) -> str:
        """Return the time, the score at this time, and the expert that supports fake most, as far as the width allows."""
        words = clock(time_s)
        timeline = self._timeline
        if timeline is None or not len(timeline):
            return words
        number = min(int(np.searchsorted([end_s for _, end_s in self._parts], time_s, "right")), len(timeline) - 1)
        if not np.isfinite(timeline.score[number]):
            return f"{words}: no score"
        words = f"{words}: score {timeline.score[number]:.2f}"
        leading = timeline.leading_expert(number, number + 1)
        if not leading:
            return words
        text = f"{words}, {expert_label(leading)} {timeline.evidence[leading][number]:+.1f}"
        return text if text_size(text, TEXT * self.unit)[0] + 2 * self._pad <= self._width else words

    def _x(self, time_s: float) -> int:
        return min(self._right, max(0, round(time_s / self._end_s * self._right)))

    def _y(self, score: float) -> int:
        return round(self._bottom - score * (self._bottom - self._top))

    def _draw(self) -> np.ndarray:
        panel = np.full((self.height, self._width, 3), DARK, np.uint8)
        self._draw_title(panel)
        for span in self._score.spans:
            panel[self._top : self._bottom, self._x(span.start_s) : self._x(span.end_s) + 1] = SPAN
        for finding in self._score.findings:
            panel[self._top : self._top + 3, self._x(finding.start_s) : self._x(finding.end_s) + 1] = FINDING
        self._draw_thresholds(panel)
        self._draw_scores(panel)
        self._draw_faces(panel)
        for cut_s in self._score.cuts_s:
            panel[self._top : self._axis : 3, self._x(cut_s)] = PALE
        self._draw_axis(panel)
        return panel

    def _draw_title(self, panel: np.ndarray) -> None:
        score = self._score
        title = score.verdict if score.score is None else f"{score.verdict} {score.score:.2f}"
        colour = {"fake": FAKE, "real": REAL}.get(score.verdict, NEUTRAL)
        put_text(panel, title, (self._pad, self._line), TEXT * self.unit, colour)
        left = text_size(title, TEXT * self.unit)[0] + 3 * self._pad
        for note in NOTES:
            width = text_size(note, SMALL * self.unit)[0]
            if left + width + self._pad <= self._width:
                put_text(panel, note, (self._width - width - self._pad, self._line), SMALL * self.unit, PALE)
                return

    def _draw_thresholds(self, panel: np.ndarray) -> None:
        half = text_size("0", SMALL * self.unit)[1] // 2
        for text, value in self._labels.items():
            panel[self._y(value), : self._right : 4] = PALE
            put_text(panel, text, (self._right + self._pad // 2, self._y(value) + half), SMALL * self.unit, PALE)

    def _draw_scores(self, panel: np.ndarray) -> None:
        if self._timeline is None:
            return
        for (start_s, end_s), value in zip(self._parts, self._timeline.score.tolist(), strict=True):
            if np.isfinite(value):
                ends = (self._x(start_s), self._y(value)), (self._x(end_s), self._y(value))
                cv2.line(panel, *ends, colour_of(value, self._score.thresholds), max(2, round(3 * self.unit)))

    def _draw_faces(self, panel: np.ndarray) -> None:
        for lane, members in enumerate(self._lanes):
            top = self._bottom + self._pad // 2 + lane * self._lane_px
            for face in members:
                self._draw_face(panel, face, top)

    def _draw_face(self, panel: np.ndarray, face: FaceTrack, top: int) -> None:
        """Draw the bar of a face from its start to its end, with its number where there is space."""
        left, right = self._x(face.start_s), max(self._x(face.start_s) + 1, self._x(face.end_s))
        colour = colour_of(face.score, self._score.thresholds)
        panel[top : top + max(1, self._lane_px - 2), left:right] = [value // 2 for value in colour]
        width, height = text_size(str(face.number), SMALL * self.unit)
        if width + 4 <= right - left and height + 2 <= self._lane_px:
            y = top + (self._lane_px + height) // 2 - 1
            put_text(panel, str(face.number), (left + 3, y), SMALL * self.unit, WHITE)

    def _draw_axis(self, panel: np.ndarray) -> None:
        base = self.height - self._pad // 2
        taken = 0
        for time_s in time_ticks(self._end_s, 6):
            width = text_size(clock(time_s), SMALL * self.unit)[0]
            left = min(max(0, self._x(time_s) - width // 2), self._width - width)
            if left >= taken:
                put_text(panel, clock(time_s), (left, base), SMALL * self.unit, PALE)
                taken = left + width + self._pad


def colour_of(score: float | None, thresholds: Mapping[str, float]) -> Colour:
    """Return the colour of the verdict on a score."""
    if score is None:
        return NEUTRAL
    if score >= thresholds["fake"]:
        return FAKE
    return REAL if score < thresholds.get("real", thresholds["fake"]) else NEUTRAL


def text_size(text: str, size: float) -> tuple[int, int]:
    """Return width and height of a text in px."""
    width, height = cv2.getTextSize(text, FONT, size, stroke(size))[0]
    return width, height


def put_text(image: np.ndarray, text: str, at: tuple[int, int], size: float, colour: Colour) -> None:
    """Write a text; `at` is the left end of its base line in px."""
    cv2.putText(image, text, at, FONT, size, colour, stroke(size), cv2.LINE_AA)


def stroke(size: float) -> int:
    """Return the width of the lines of a text in px."""
    return max(1, round(1.8 * size))
