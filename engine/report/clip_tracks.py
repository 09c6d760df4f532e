"""The tracks of the page about one clip: rows that share the time axis of the clip.

A track is stretched to the width of the page, so its drawing has no text; labels are HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from engine.evidence.types import AudioView, Evidence, FaceView, Saliency
from engine.report.clip_images import spectrogram_uri
from engine.report.times import clock, time_ticks
from engine.report.wording import expert_label
from engine.timeline.lanes import face_lanes, face_note
from engine.timeline.types import LEAST_SYNC_SCALE, SYNC, FaceTrack, Timeline

WIDE, HIGH = 1000.0, 100.0
"""Size of a drawing in its own units."""

LEAST_TICK_GAP = 0.04
"""Least distance between two numbers, as a share of the width."""

LEAST_SCALE = 2.0
"""Minimum scale of the evidence, in log-odds; it keeps small differences small."""

MOST_NUMBERED_LANES = 3


@dataclass(frozen=True)
class Track:
    """A row.

    Attributes:
        name: its name.
        note: how to read it, in a few words.
        body: the drawing.
        size: class of its height: `thin`, `low`, `high`.
    """

    name: str
    note: str
    body: Markup
    size: str = "low"


@dataclass(frozen=True)
class Axis:
    """The time axis of a clip; 0 is its start."""

    end_s: float

    def x(self, time_s: float) -> float:
        """Return the position of a time in [0, 1]."""
        return min(max(time_s / self.end_s, 0.0), 1.0)

    def place(self, start_s: float, end_s: float) -> str:
        """Return the CSS position of an interval."""
        left, right = self.x(start_s), self.x(end_s)
        return f"left:{100 * left:.3f}%;width:{100 * max(right - left, 0.002):.3f}%"

    def at(self, time_s: float) -> str:
        """Return the CSS position of a time."""
        return f"left:{100 * self.x(time_s):.3f}%"

    def ticks(self) -> list[tuple[str, str]]:
        """Return CSS position and label of each tick. A label at the right edge ends there."""
        times_s = time_ticks(self.end_s, 6)
        return [
            (self.at(one) + (";transform:translateX(-90%)" if self.x(one) > 0.97 else ""), clock(one))
            for one in times_s
        ]


def axis_of(evidence: Evidence) -> Axis:
    """Return the time axis of a clip."""
    ends = [evidence.facts.duration_s, *(track.end_s for track in evidence.score.faces)]
    if evidence.audio is not None:
        ends.append(evidence.audio.end_s)
    if evidence.score.timeline is not None and len(evidence.score.timeline):
        ends.append(float(evidence.score.timeline.end_s.max()))
    return Axis(max([0.04, *ends]))


def tracks(evidence: Evidence) -> list[Track]:
    """Return the tracks of a clip, from the scores down to the spectrogram."""
    axis = axis_of(evidence)
    rows: list[Track] = []
    if evidence.score.timeline is not None:
        rows += timeline_tracks(evidence.score.timeline, evidence.calibration.thresholds, axis)
    if evidence.score.faces:
        rows.append(faces_track(evidence.score.faces, axis))
    if evidence.face is not None:
        rows.append(face_track(evidence.face, axis))
    if evidence.audio is not None:
        rows.append(waveform_track(evidence.audio, axis))
        if evidence.saliency is not None and len(evidence.saliency.effect):
            rows.append(saliency_track(evidence.saliency, axis))
        rows.append(spectrogram_track(evidence.audio, evidence.saliency, axis))
    return rows


def timeline_tracks(timeline: Timeline, thresholds: dict[str, float], axis: Axis) -> Iterator[Track]:
    """Yield the score over time, then the evidence of each expert over time."""
    middle = (timeline.start_s + timeline.end_s) / 2
    marks = [
        Markup('<path class="threshold" d="M0 {y:.1f}H1000"/>').format(y=100 - 100 * value)
        for value in thresholds.values()
    ]
    known = np.isfinite(timeline.score)
    if known.any():
        words = f"Score over time, from {np.nanmin(timeline.score):.2f} to {np.nanmax(timeline.score):.2f}"
        body = drawing([*marks, *lines(timeline, middle, 100 - 100 * timeline.score, axis, "line main")], words)
        yield Track("Score", "0 to 1, upwards: more like a fake; dashed: thresholds", body, "high")
    else:
        yield Track("Score", "no part could be scored", drawing([], "No score"), "thin")
    evidence = timeline.without_sync.evidence.values()
    largest = [np.nanmax(np.abs(values)) for values in evidence if np.isfinite(values).any()]
    scale = max([LEAST_SCALE, *largest])
    parts = np.array(timeline.parts(axis.end_s)).reshape(-1, 2)
    for name, values in timeline.evidence.items():
        label = expert_label(name)
        if not np.isfinite(values).any():
            yield Track(label, "abstains", drawing([zero()], f"{label}: abstains"), "thin")
            continue
        unit, note, full = "in log-odds", "evidence: up supports fake, down supports real", scale
        if name == SYNC:
            unit, note = "as a gain of correlation", "how much better shifted sound would fit; not in the score"
            full = max(LEAST_SYNC_SCALE, np.nanmax(np.abs(values)))
        words = f"{label}: evidence over time, from {np.nanmin(values):.1f} to {np.nanmax(values):.1f} {unit}"
        yield Track(label, note, drawing([zero(), *bars(parts[:, 0], parts[:, 1], values / full, axis)], words))


def faces_track(faces: Sequence[FaceTrack], axis: Axis) -> Track:
    """Return a bar per tracked face from its start to its end, with its number where there is space."""
    lanes = face_lanes(faces)
    body = Markup("")
    for lane, members in enumerate(lanes):
        for face in members:
            words = f"{face_note(face)}, {clock(face.start_s)} to {clock(face.end_s)}"
            wide = axis.x(face.end_s) - axis.x(face.start_s) >= LEAST_TICK_GAP
            body += Markup('<b class="face" style="{};top:{:.1f}%;height:{:.1f}%" title="{}">{}</b>').format(
                axis.place(face.start_s, face.end_s),
                100 * lane / len(lanes),
                100 / len(lanes),
                words,
                face.number if wide and len(lanes) <= MOST_NUMBERED_LANES else "",
            )
    return Track("Faces", "from start to end; numbers as below", body, size_of(len(lanes)))


def size_of(lanes: int) -> str:
    """Return the class of the height of a track with lanes."""
    return "thin" if lanes == 1 else "low"


def face_track(face: FaceView, axis: Axis) -> Track:
    """Return the interval from which the crops were chosen, with their times."""
    words = f"The crops were chosen from {clock(face.start_s)} to {clock(face.end_s)}"
    body = [Markup('<i class="span face" style="{}"></i>').format(axis.place(face.start_s, face.end_s))]
    last = -1.0
    for number, crop in enumerate(face.crops, 1):
        if axis.x(crop.time_s) - last < LEAST_TICK_GAP:
            continue
        last = axis.x(crop.time_s)
        body.append(
            Markup('<b class="tick" style="left:{x:.3f}%">{n}</b>').format(x=100 * axis.x(crop.time_s), n=number)
        )
    return Track(
        "Crops",
        "numbered; chosen from the marked part",
        Markup('<span class="sr">{}</span>').format(words) + Markup("").join(body),
        "thin",
    )


def waveform_track(audio: AudioView, axis: Axis) -> Track:
    """Return the waveform."""
    loudest = float(max(audio.high.max(), -audio.low.min(), 1e-4))
    x = WIDE * np.linspace(axis.x(audio.start_s), axis.x(audio.end_s), len(audio.low))
    top, bottom = 50 - 48 * audio.high / loudest, 50 - 48 * audio.low / loudest
    outline = [*zip(x, top, strict=True), *zip(x[::-1], bottom[::-1] + 0.4, strict=True)]
    shape = Markup('<path class="wave" d="M{}z"/>').format("L".join(f"{px:.1f} {py:.1f}" for px, py in outline))
    level = f"peak {20 * np.log10(loudest):.0f} dB"
    return Track("Waveform", level, drawing([shape], f"Waveform, {level}"))


def saliency_track(saliency: Saliency, axis: Axis) -> Track:
    """Return the effect of each part of the audio."""
    scale = max(0.5, float(np.abs(saliency.effect).max()))
    strongest = int(np.argmax(saliency.effect))
    words = f"Effect of parts of the audio; strongest towards fake at {clock(float(saliency.start_s[strongest]))}"
    body = drawing([zero(), *bars(saliency.start_s, saliency.end_s, saliency.effect / scale, axis)], words)
    return Track(
        "Effect on the score", f"of each part on \u201c{expert_label(saliency.term)}\u201d; up: more like a fake", body
    )


def spectrogram_track(audio: AudioView, saliency: Saliency | None, axis: Axis) -> Track:
    """Return the spectrogram, with a strip above the parts of the audio that raised the score."""
    body = Markup('<img class="mel" style="{}" src="{}" alt="Mel-spectrogram of the audio">').format(
        axis.place(audio.start_s, audio.end_s), spectrogram_uri(audio.mel)
    )
    if saliency is not None and len(saliency.effect):
        scale = max(0.5, float(np.abs(saliency.effect).max()))
        for start_s, end_s, effect in zip(saliency.start_s, saliency.end_s, saliency.effect, strict=True):
            if effect > 0.05 * scale:
                body += Markup('<i class="strip" style="{};opacity:{:.2f}"></i>').format(
                    axis.place(start_s, end_s), 0.25 + 0.75 * effect / scale
                )
    return Track("Spectrogram", f"0 to {audio.top_hz / 1000:.0f} kHz upwards, bright is loud", body, "high")


def drawing(marks: Sequence[Markup], words: str) -> Markup:
    """Return marks as a stretched drawing with an accessible name."""
    return Markup('<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>').format(
        words, Markup("").join(marks)
    )


def zero() -> Markup:
    """Return the line at zero."""
    return Markup('<path class="axis" d="M0 50H1000"/>')


def lines(timeline: Timeline, x_s: np.ndarray, y: np.ndarray, axis: Axis, css: str) -> Iterator[Markup]:
    """Yield a line through each run of finite values; a single value is drawn over its window."""
    known = np.isfinite(y)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    for first, last in edges.reshape(-1, 2):
        points = [(WIDE * axis.x(x_s[n]), float(y[n])) for n in range(first, last)]
        begin, end = (WIDE * axis.x(value) for value in (timeline.start_s[first], timeline.end_s[last - 1]))
        points = [(begin, points[0][1]), *points, (end, points[-1][1])]
        yield Markup('<path class="{}" d="M{}"/>').format(css, "L".join(f"{px:.1f} {py:.1f}" for px, py in points))


def bars(start_s: np.ndarray, end_s: np.ndarray, share: np.ndarray, axis: Axis) -> Iterator[Markup]:
    """Yield a bar per interval, from the middle up (fake) or down (real); overlapping intervals are cut at their successor."""
    ends = np.minimum(end_s, np.append(start_s[1:], np.inf))
    ends = np.where(ends > start_s, ends, end_s)
    for low_s, high_s, value in zip(start_s, ends, share, strict=True):
        if not np.isfinite(value) or value == 0:
            continue
        left, right = WIDE * axis.x(low_s), WIDE * axis.x(high_s)
        height = 48 * min(abs(float(value)), 1.0)
        yield Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            "fake" if value > 0 else "real", left, 50 - height if value > 0 else 50, max(right - left, 1.0), height
        )
