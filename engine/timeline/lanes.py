"""Lanes of tracked faces: faces of the same lane do not overlap in time."""

from __future__ import annotations

from collections.abc import Sequence

from engine.timeline.types import FaceTrack


def face_lanes(faces: Sequence[FaceTrack]) -> list[list[FaceTrack]]:
    """Return the faces in as few lanes as possible, each in order of time."""
    lanes: list[list[FaceTrack]] = []
    for face in sorted(faces, key=lambda face: face.start_s):
        free = next((lane for lane in lanes if lane[-1].end_s <= face.start_s), None)
        if free is None:
            lanes.append([face])
        else:
            free.append(face)
    return lanes


def face_note(face: FaceTrack) -> str:
    """Return the number of a face and its score, if it has one, in a few words."""
    return f"face {face.number}" + ("" if face.score is None else f": {face.score:.2f}")
