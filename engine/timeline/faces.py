"""The tracked faces of a clip with several, each with its own score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.score import Score
from engine.scoring import EVIDENCE_PREFIX
from engine.timeline.clip_score import combine_rows
from engine.timeline.types import FaceTrack
from utils.features.clip import ClipWindow, FacePath
from utils.features.seconds import ClipSeconds
from utils.features.windows import CLIP_WINDOW_S
from utils.metrics.calibration import Calibration

LEAST_OVERLAP = 0.2
"""Least intersection over union of the last box of a face and of its first box in the next window."""

FACE_TERMS = ("face", "motion", "sync")
"""Experts that score a face; the others score the audio or the whole clip."""


@dataclass
class _Face:
    """A face that is linked across windows."""

    paths: list[FacePath] = field(default_factory=list)
    rows: list[Mapping[Any, Any]] = field(default_factory=list)


def face_tracks(
    windows: Sequence[ClipWindow], rows: Sequence[Mapping[Any, Any]], calibration: Calibration
) -> tuple[FaceTrack, ...]:
    """Return the faces of a clip, in order of appearance.

    Args:
        windows: the windows of the clip.
        rows: one row per window and face, see `combine_rows`.
        calibration: conversion of a logit to a score.
    """
    left = iter(rows)
    faces: list[_Face] = []
    for window in windows:
        own = [next(left) for _ in window.faces]
        linked: list[_Face] = []
        for path, row in zip(window.paths, own, strict=False):
            known = continued(path, [face for face in faces if face not in linked])
            if known is None:
                known = _Face()
                faces.append(known)
            linked.append(known)
            known.paths.append(path)
            known.rows.append(row)
    faces.sort(key=lambda face: face.paths[0].times_s[0])
    return tuple(face_track(number, face, calibration) for number, face in enumerate(faces, 1))


def whole_tracks(clip: ClipSeconds, score: Score) -> tuple[FaceTrack, ...]:
    """Return the tracks of a clip's time line. The longest one has the score of the clip, the others have none.

    Args:
        clip: the clip second by second.
        score: the score of the clip.
    """
    tracks = sorted(clip.tracks().values(), key=lambda seconds: seconds[0].second)
    longest = max(tracks, key=len, default=None)
    faces = []
    for number, seconds in enumerate(tracks, 1):
        times_s, order = np.unique(np.concatenate([one.path.times_s for one in seconds]), return_index=True)
        boxes = np.concatenate([one.path.boxes for one in seconds])[order]
        evidence = {term: score.evidence.get(term) for term in FACE_TERMS if term in score.evidence}
        is_scored = seconds is longest
        faces.append(
            FaceTrack(
                number,
                float(times_s[0]),
                float(times_s[-1]),
                times_s,
                boxes,
                score.score if is_scored else None,
                evidence if is_scored else {},
            )  # fmt: skip
        )
    return tuple(faces)


def continued(path: FacePath, faces: Sequence[_Face]) -> _Face | None:
    """Return the face whose last box is nearest to the start of a path; `None` if none overlaps or ended recently."""
    best, most = None, LEAST_OVERLAP
    for face in faces:
        last = face.paths[-1]
        row = int(np.searchsorted(last.times_s, path.times_s[0]).clip(0, len(last.times_s) - 1))
        shared = overlap(last.boxes[row], path.boxes[0])
        if path.times_s[0] - last.times_s[-1] <= CLIP_WINDOW_S and shared >= most:
            best, most = face, shared
    return best


def face_track(number: int, face: _Face, calibration: Calibration) -> FaceTrack:
    """Return a face with the score that the clip would have if this were its only face."""
    combined = combine_rows(face.rows)
    times_s = np.concatenate([path.times_s for path in face.paths])
    order = np.unique(times_s, return_index=True)[1]
    boxes = np.concatenate([path.boxes for path in face.paths])
    logit = combined["logit"]
    evidence = {
        term: None if np.isnan(combined[EVIDENCE_PREFIX + term]) else float(combined[EVIDENCE_PREFIX + term])
        for term in FACE_TERMS
        if EVIDENCE_PREFIX + term in combined
    }
    return FaceTrack(
        number=number,
        start_s=float(times_s[order[0]]),
        end_s=float(times_s[order[-1]]),
        times_s=times_s[order],
        boxes=boxes[order],
        score=None if np.isnan(logit) else float(calibration.score(logit)),
        evidence=evidence,
    )


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes (4,), 0 to 1."""
    shared = float(np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0).prod())
    union = float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod()) - shared
    return shared / union if union > 0 else 0.0
