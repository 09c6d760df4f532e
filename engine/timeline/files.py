"""Files of the time line: JSON for programs and an SVG picture for people, one of each per clip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine.report.clip_files import page_name
from engine.score import Score
from engine.timeline.faces import face_entry
from engine.timeline.picture import timeline_picture
from engine.timeline.types import FaceTrack
from utils.files import write_text_atomic


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
        "cuts_s": [round(time_s, 3) for time_s in score.cuts_s],
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


def as_spans(score: Score) -> list[tuple[float, float, float]]:
    """Return the suspicious spans of a clip as (start, end, score) for `utils.metrics.spans`."""
    return [(span.start_s, span.end_s, span.score) for span in score.spans]


def true_spans(row: Mapping[Any, Any]) -> list[tuple[float, float]]:
    """Return the fake span of a row of a label file with `start_s` and `end_s`; none where they are empty."""
    start_s, end_s = row.get("start_s"), row.get("end_s")
    known = [value is not None and str(value).strip() not in ("", "nan") for value in (start_s, end_s)]
    return [(float(str(start_s)), float(str(end_s)))] if all(known) else []
