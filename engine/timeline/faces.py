"""The tracked faces of a clip with several, each with its own score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engine.score import Score
from engine.scoring import EVIDENCE_PREFIX
from engine.timeline.clip_score import combine_rows
from engine.timeline.types import FaceTrack
from utils.features.clip import ClipWindow, FacePath
from utils.features.face.detector import overlap, overlaps
from utils.features.seconds import ClipSeconds
from utils.features.windows import CLIP_WINDOW_S
from utils.metrics.calibration import Calibration

LEAST_OVERLAP = 0.2
"""Least intersection over union of the last box of a face and of its first box in the next window."""

SAME_TIME_S = 0.25
"""Detections of a face at most this far apart are compared. Faces are detected every 5 frames."""

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


def scored_faces(faces: Sequence[FaceTrack]) -> tuple[FaceTrack, ...]:
    """Return the scored faces of a clip that has several; else none, because a single face has the score of the clip."""
    scored = tuple(face for face in faces if face.score is not None)
    return scored if len(scored) > 1 else ()


def worst_face(faces: Sequence[FaceTrack]) -> FaceTrack | None:
    """Return the face with the highest score of a clip with several scored faces; else `None`."""
    return max(scored_faces(faces), key=lambda face: face.score or 0.0, default=None)


def face_entry(face: FaceTrack) -> dict[str, Any]:
    """Return a face as plain types, without its path."""
    return {
        "number": face.number,
        "start_s": round(face.start_s, 3),
        "end_s": round(face.end_s, 3),
        "score": face.score,
        "evidence": dict(face.evidence),
    }


def whole_tracks(
    clip: ClipSeconds,
    windows: Sequence[ClipWindow],
    rows: Sequence[Mapping[Any, Any]],
    score: Score,
    calibration: Calibration,
) -> tuple[FaceTrack, ...]:
    """Return the tracks of a clip's time line, which end at cuts. A track that no window contains is not scored.

    Args:
        clip: the clip second by second.
        windows: see `face_tracks`.
        rows: see `face_tracks`.
        score: the score of the clip, which is that of its face if it has a single one.
        calibration: see `face_tracks`.
    """
    tracks = sorted(clip.tracks().values(), key=lambda seconds: seconds[0].second)
    faces = [_Face([joined_path([one.path for one in seconds])]) for seconds in tracks]
    for path, row in scored_paths(clip, windows, rows):
        best = best_match([path_overlap(path, face.paths[0]) for face in faces])
        if best is not None:
            faces[best].rows.append(row)
    found = tuple(face_track(number, face, calibration) for number, face in enumerate(faces, 1))
    if len(found) == 1:
        evidence = {term: score.evidence[term] for term in FACE_TERMS if term in score.evidence}
        return (replace(found[0], score=score.score, evidence=evidence),)
    return found


def scored_paths(
    clip: ClipSeconds, windows: Sequence[ClipWindow], rows: Sequence[Mapping[Any, Any]]
) -> Iterator[tuple[FacePath, Mapping[Any, Any]]]:
    """Yield the path and the row of each scored face."""
    if not windows and clip.scored_path is not None:
        yield clip.scored_path, rows[0]
    left = iter(rows)
    for window in windows:
        own = [next(left) for _ in window.faces]
        yield from zip(window.paths, own, strict=False)


def best_match(overlaps: Sequence[float]) -> int | None:
    """Return the index of the largest overlap, the first one if several are equal; `None` if it is below `LEAST_OVERLAP`."""
    best = max(range(len(overlaps)), key=overlaps.__getitem__, default=None)
    return best if best is not None and overlaps[best] >= LEAST_OVERLAP else None


def path_overlap(path: FacePath, other: FacePath) -> float:
    """Return the mean intersection over union of two paths while both exist, 0 if they do not meet.

    Every detection of `path` is compared with the nearest one of `other` within `SAME_TIME_S`.
    """
    apart_s = np.abs(other.times_s - path.times_s[:, None])
    nearest = apart_s.argmin(axis=1)
    near = apart_s.min(axis=1) <= SAME_TIME_S
    return float(overlaps(path.boxes[near], other.boxes[nearest[near]]).mean()) if near.any() else 0.0


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
    """Return a face with the score that the clip would have if this were its only face; none without rows."""
    path = joined_path(face.paths)
    if not face.rows:
        return track_on(path, number, None, {})
    combined = combine_rows(face.rows)
    logit = combined["logit"]
    evidence = {
        term: None if np.isnan(combined[EVIDENCE_PREFIX + term]) else float(combined[EVIDENCE_PREFIX + term])
        for term in FACE_TERMS
        if EVIDENCE_PREFIX + term in combined
    }
    score = None if np.isnan(logit) else float(calibration.score(logit))
    return track_on(path, number, score, evidence)


def joined_path(paths: Sequence[FacePath]) -> FacePath:
    """Return paths of the same face, which may overlap, as one path."""
    times_s, first = np.unique(np.concatenate([path.times_s for path in paths]), return_index=True)
    return FacePath(times_s, np.concatenate([path.boxes for path in paths])[first])


def track_on(path: FacePath, number: int, score: float | None, evidence: Mapping[str, float | None]) -> FaceTrack:
    """Return the track of a face along a path."""
    start_s, end_s = float(path.times_s[0]), float(path.times_s[-1])
    return FaceTrack(number, start_s, end_s, path.times_s, path.boxes, score, evidence)
