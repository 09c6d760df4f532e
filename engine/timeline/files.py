"""Files of the time line: JSON for programs and an SVG picture for people, one of each per clip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from engine.report.clip_files import page_name
from engine.report.times import clock, time_ticks
from engine.report.wording import SPAN_REASONS
from engine.score import Score
from engine.score_lines import middle_truncated
from engine.timeline.faces import face_entry
from engine.timeline.types import FaceTrack, Timeline
from utils.files import write_text_atomic

WIDTH, LEFT, ROW_PX, GAP_PX, TITLE_PX = 900.0, 150.0, 46.0, 12.0, 54.0
PLOT_PX = WIDTH - LEFT - 34
LEAST_SCALE, LEAST_SYNC_SCALE = 1.0, 0.3
NAME_COLUMNS = 90
SYNC = "sync"
COLOURS = {"fake": "#b3261e", "real": "#2f6f4f", "line": "#24478f", "grid": "#c9ced6", "text": "#1b1f24"}


def write_timeline(score: Score, folder: Path) -> Path:
    """Write the time line of a clip as JSON, and as a picture if there is one. The files are named like the clip's page.

    Returns:
        The JSON file.

    Raises:
        OSError: a file cannot be written.
    """
    path = folder / Path(page_name(score.video)).with_suffix(".json")
    write_text_atomic(path, json.dumps(timeline_dict(score), indent=1, allow_nan=False) + "\n")
    if score.timeline is not None:
        write_text_atomic(path.with_suffix(".svg"), str(timeline_picture(score, score.timeline)))
    return path


def timeline_dict(score: Score) -> dict[str, Any]:
    """Return the time line of a clip as plain types; a value that does not exist is `None`."""
    timeline = score.timeline
    windows = None
    if timeline is not None:
        windows = {
            "start_s": numbers(timeline.start_s),
            "end_s": numbers(timeline.end_s),
            "score": numbers(timeline.score),
            "evidence": {name: numbers(values) for name, values in timeline.evidence.items()},
        }
    return {
        "video": score.video.encode("utf-8", "backslashreplace").decode(),
        "score": score.score,
        "verdict": score.verdict,
        "reason": score.reason,
        "thresholds": dict(score.thresholds),
        "timeline": windows,
        "spans": [vars(span) for span in score.spans],
        "findings": [vars(finding) for finding in score.findings],
        "faces": [face_dict(face) for face in score.faces],
    }


def face_dict(face: FaceTrack) -> dict[str, Any]:
    """Return a face track as plain types."""
    return {
        **face_entry(face),
        "times_s": numbers(face.times_s),
        "boxes": np.round(face.boxes.astype(float), 1).tolist(),
    }


def numbers(values: np.ndarray) -> list[float | None]:
    """Return numbers with four decimals; `None` for NaN."""
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]


def timeline_picture(score: Score, timeline: Timeline) -> Markup:
    """Return a drawing: the score over time with thresholds and spans, then a row of bars per expert."""
    duration_s = max(1e-3, float(timeline.end_s.max(initial=0.0)))
    rows = [score_row(score, timeline, duration_s)]
    terms = {name: values for name, values in timeline.evidence.items() if name != SYNC}
    scale = max([LEAST_SCALE, *map(largest, terms.values())])
    note = f"log-odds, up to {scale:.1f}"
    rows += [bar_row(name, note, values, timeline, duration_s, scale) for name, values in terms.items()]
    if SYNC in timeline.evidence:
        rows.append(sync_row(score, timeline, duration_s))
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
        marks=face_marks(score, duration_s, height - 24),
        rows=Markup("").join(placed),
        axis=time_axis(duration_s, height - 10),
    )


def legend(score: Score) -> str:
    """Return the meaning of the marks in the picture."""
    marks = {
        "red band: suspicious span": score.spans,
        "blue band: sound and lips": score.findings,
        "dashed: thresholds": score.thresholds,
        "dotted: a face begins": face_starts(score),
    }
    return "; ".join(text for text, shown in marks.items() if shown)


def face_starts(score: Score) -> dict[float, list[int]]:
    """Return the numbers of the faces that begin at each time in seconds; empty if there is only one face."""
    starts: dict[float, list[int]] = {}
    for face in score.faces if len(score.faces) > 1 else ():
        starts.setdefault(face.start_s, []).append(face.number)
    return starts


def face_marks(score: Score, duration_s: float, bottom: float) -> Markup:
    """Return a dotted line over all rows where faces begin, as they do at cuts, with their numbers."""
    shape = (
        '<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-dasharray="1 3" fill="none"/>'
        '<text x="{x:.1f}" y="{above:.1f}" dx="2" font-size="9" opacity="0.7">face {numbers}</text>'
    )
    return Markup("").join(
        Markup(shape).format(
            x=LEFT + x_of(start_s, duration_s),
            top=TITLE_PX - 8,
            above=TITLE_PX - 1,
            bottom=bottom,
            colour=COLOURS["text"],
            numbers=", ".join(map(str, numbers)),
        )
        for start_s, numbers in face_starts(score).items()
    )


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
    for number in np.flatnonzero(np.isfinite(timeline.score)).tolist():
        start_s, end_s = timeline.seconds_of(number, number + 1, duration_s)
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
    for number in np.flatnonzero(np.isfinite(values)).tolist():
        start_s, end_s = timeline.seconds_of(number, number + 1, duration_s)
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


def as_spans(score: Score) -> list[tuple[float, float, float]]:
    """Return the suspicious spans of a clip as (start, end, score) for `utils.metrics.spans`."""
    return [(span.start_s, span.end_s, span.score) for span in score.spans]


def true_spans(row: Mapping[Any, Any]) -> list[tuple[float, float]]:
    """Return the fake span of a row of a label file with `start_s` and `end_s`; none where they are empty."""
    start_s, end_s = row.get("start_s"), row.get("end_s")
    known = [value is not None and str(value).strip() not in ("", "nan") for value in (start_s, end_s)]
    return [(float(str(start_s)), float(str(end_s)))] if all(known) else []
