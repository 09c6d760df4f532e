"""Picture of the time line: an SVG drawing for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape

from engine.report.times import clock, time_ticks
from engine.report.wording import SPAN_REASONS
from engine.score import Score
from engine.score_lines import middle_truncated
from engine.timeline.lanes import face_lanes, face_note
from engine.timeline.types import LEAST_SYNC_SCALE, SYNC, FaceTrack, Timeline

WIDTH, LEFT, ROW_PX, GAP_PX, TITLE_PX = 900.0, 150.0, 46.0, 12.0, 54.0
PLOT_PX = WIDTH - LEFT - 34
LANE_PX, LEAST_LANE_PX, NUMBER_PX = 16.0, 9.0, 9.0
"""Largest height of a face's bar, and the least height and width per digit of one that shows its number."""

LEAST_SCALE = 1.0
NAME_COLUMNS = 90
COLOURS = {"fake": "#b3261e", "real": "#2f6f4f", "line": "#24478f", "grid": "#c9ced6", "text": "#1b1f24"}


def timeline_picture(score: Score, timeline: Timeline) -> Markup:
    """Return a drawing: the score over time with thresholds and spans, a row of bars per expert, and the tracked faces."""
    duration_s = max(1e-3, float(timeline.end_s.max(initial=0.0)))
    rows = [score_row(score, timeline, duration_s)]
    terms = timeline.without_sync.evidence
    scale = max([LEAST_SCALE, *map(largest, terms.values())])
    note = f"log-odds, up to {scale:.1f}"
    rows += [bar_row(name, note, values, timeline, duration_s, scale) for name, values in terms.items()]
    if SYNC in timeline.evidence:
        rows.append(sync_row(score, timeline, duration_s))
    if score.faces:
        rows.append(face_row(score.faces, duration_s))
    height = TITLE_PX + len(rows) * (ROW_PX + GAP_PX) + 24
    placed = [
        Markup('<g transform="translate({:.0f} {:.1f})">{}</g>').format(
            LEFT, TITLE_PX + number * (ROW_PX + GAP_PX), row
        )
        for number, row in enumerate(rows)
    ]
    name = middle_truncated(Path(score.video).name.encode("utf-8", "backslashreplace").decode() or "clip", NAME_COLUMNS)
    shown = "unscored" if score.score is None else f"{score.score:.2f} ({score.verdict})"
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" '
        'font-size="12" fill="{text}"><rect width="100%" height="100%" fill="#fff"/>'
        '<text x="12" y="20" font-size="14">{title}</text>'
        '<text x="12" y="36" font-size="10" opacity="0.7">{legend}</text>{rows}{marks}{axis}</svg>\n'
    ).format(
        width=WIDTH,
        height=height,
        text=COLOURS["text"],
        title=f"{name}: {shown}",
        legend=legend(score),
        marks=cut_marks(score.cuts_s, duration_s, height - 24),
        rows=Markup("").join(placed),
        axis=time_axis(duration_s, height - 10),
    )


def legend(score: Score) -> str:
    """Return the meaning of the marks in the picture."""
    marks = {
        "red band: suspicious span": score.spans,
        "blue band: sound and lips": score.findings,
        "dashed: thresholds": score.thresholds,
        "dotted: cuts": score.cuts_s,
    }
    return "; ".join(text for text, shown in marks.items() if shown)


def cut_marks(cuts_s: Sequence[float], duration_s: float, bottom: float) -> Markup:
    """Return a dotted line over all rows at each cut."""
    shape = '<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-dasharray="1 3" fill="none"/>'
    return Markup("").join(
        Markup(shape).format(x=LEFT + x_of(cut_s, duration_s), top=TITLE_PX, bottom=bottom, colour=COLOURS["text"])
        for cut_s in cuts_s
    )


def face_row(faces: Sequence[FaceTrack], duration_s: float) -> Markup:
    """Return a bar per face from its start to its end, with its number where there is space."""
    lanes = face_lanes(faces)
    pitch = min(LANE_PX, ROW_PX / len(lanes))
    parts = [label("faces", "numbers as in the page")]
    bar = (
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2" fill="{}" opacity="0.35">'
        "<title>{}</title></rect>"
    )
    number = '<text x="{:.1f}" y="{:.1f}" font-size="10">{}</text>'
    for lane, members in enumerate(lanes):
        for face in members:
            left, right = x_of(face.start_s, duration_s), x_of(face.end_s, duration_s)
            top, width = lane * pitch + (ROW_PX - len(lanes) * pitch) / 2, max(1.0, right - left)
            words = f"{face_note(face)}, {clock(face.start_s)} to {clock(face.end_s)}"
            parts.append(Markup(bar).format(left, top, width, pitch - 2, COLOURS["line"], words))
            if width >= NUMBER_PX * len(str(face.number)) and pitch >= LEAST_LANE_PX:
                parts.append(Markup(number).format(left + 3, top + pitch / 2 + 2.5, face.number))
    return Markup("").join(parts)


def score_row(score: Score, timeline: Timeline, duration_s: float) -> Markup:
    """Return the score over time with the thresholds and the suspicious spans."""
    parts = [label("score", "0 to 1")]
    for span in score.spans:
        left, right = x_of(span.start_s, duration_s), x_of(span.end_s, duration_s)
        shape = '<rect x="{:.1f}" y="0" width="{:.1f}" height="{}" fill="{}" opacity="0.18"><title>{}</title></rect>'
        seconds = f"{clock(span.start_s)} to {clock(span.end_s)}"
        words = f"{seconds}: {span.score:.2f}, {span.expert}, {SPAN_REASONS[span.basis]}"
        parts.append(Markup(shape).format(left, max(1.0, right - left), ROW_PX, COLOURS["fake"], words))
    for verdict, value in score.thresholds.items():
        y = ROW_PX * (1 - value)
        parts.append(line(0, PLOT_PX, y, "grid", dashed=True))
        shape = '<text x="{:.0f}" y="{:.1f}" font-size="9" opacity="0.7">{}</text>'
        parts.append(Markup(shape).format(PLOT_PX + 4, y + 3, verdict))
    for number, (start_s, end_s) in enumerate(timeline.parts(duration_s)):
        if not np.isfinite(timeline.score[number]):
            continue
        y = ROW_PX * (1 - timeline.score[number])
        parts.append(line(x_of(start_s, duration_s), x_of(end_s, duration_s), y, "line"))
    return Markup("").join(parts)


def sync_row(score: Score, timeline: Timeline, duration_s: float) -> Markup:
    """Return the gain of another offset between sound and lips over time, with the findings as bands."""
    values = timeline.evidence[SYNC]
    bands = []
    for found in score.findings:
        left, right = x_of(found.start_s, duration_s), x_of(found.end_s, duration_s)
        shape = '<rect x="{:.1f}" y="0" width="{:.1f}" height="{}" fill="{}" opacity="0.15"><title>{}</title></rect>'
        bands.append(Markup(shape).format(left, max(1.0, right - left), ROW_PX, COLOURS["line"], found.message))
    scale = max(LEAST_SYNC_SCALE, largest(values))
    row = bar_row(SYNC, f"gain if shifted, up to {scale:.1f}", values, timeline, duration_s, scale)
    return Markup("").join([*bands, row])


def largest(values: np.ndarray) -> float:
    """Return the largest magnitude; 0 without a finite value."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def bar_row(name: str, note: str, values: np.ndarray, timeline: Timeline, duration_s: float, scale: float) -> Markup:
    """Return the evidence of one expert over time; bars upwards support fake."""
    finite = np.isfinite(values).any()
    parts = [label(name, note if finite else "abstains"), line(0, PLOT_PX, ROW_PX / 2, "grid")]
    for number, (start_s, end_s) in enumerate(timeline.parts(duration_s)):
        if not np.isfinite(values[number]):
            continue
        left, right = x_of(start_s, duration_s), x_of(end_s, duration_s)
        high = abs(values[number]) / scale * ROW_PX / 2
        top = ROW_PX / 2 - high if values[number] > 0 else ROW_PX / 2
        colour = COLOURS["fake"] if values[number] > 0 else COLOURS["real"]
        shape = '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}"/>'
        parts.append(Markup(shape).format(left + 0.5, top, max(0.5, right - left - 1), high, colour))
    return Markup("").join(parts)


def x_of(time_s: float, duration_s: float) -> float:
    """Return the position of a time in the plot."""
    return PLOT_PX * min(1.0, max(0.0, time_s / duration_s))


def label(name: str, note: str) -> Markup:
    """Return the label of a row."""
    shape = '<text x="{x:.0f}" y="20">{name}</text><text x="{x:.0f}" y="36" font-size="10" opacity="0.7">{note}</text>'
    return Markup(shape).format(x=12 - LEFT, name=escape(name.replace("_", " ")), note=note)


def line(left: float, right: float, y: float, colour: str, *, dashed: bool = False) -> Markup:
    """Return a horizontal line."""
    shape = '<path d="M{:.1f} {:.1f}H{:.1f}" stroke="{}" stroke-width="{}" fill="none"{}/>'
    width = 1 if colour == "grid" else 2.5
    return Markup(shape).format(
        left, y, right, COLOURS[colour], width, Markup(' stroke-dasharray="4 3"' if dashed else "")
    )


def time_axis(duration_s: float, y: float) -> Markup:
    """Return the times below the rows, at most about ten."""
    shape = '<text x="{:.1f}" y="{:.0f}" font-size="10" text-anchor="middle">{}</text>'
    return Markup("").join(
        Markup(shape).format(LEFT + x_of(time_s, duration_s), y, clock(time_s)) for time_s in time_ticks(duration_s, 10)
    )
