"""Choice of the tracked detection, and landmarks between detections."""

from __future__ import annotations

import numpy as np

from utils.features.face.detector import Detections
from utils.features.face.track import most_prominent, smooth_landmarks


def faces(*boxes: tuple[float, float, float, float], scores: tuple[float, ...] = ()) -> Detections:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    middle = (corners[:, :2] + corners[:, 2:]) / 2
    marks = middle[:, None] + np.array([[-1, -1], [1, -1], [0, 0], [-1, 1], [1, 1]], np.float32)
    return Detections(corners, np.array(scores or [0.9] * len(corners), np.float32), marks)


SMALL, LARGE = (0.0, 0.0, 20.0, 20.0), (100.0, 100.0, 180.0, 180.0)


def test_a_track_starts_at_the_largest_confident_face() -> None:
    assert most_prominent(faces(SMALL, LARGE), None) == 1
    assert most_prominent(faces(SMALL, LARGE, scores=(0.99, 0.1)), None) == 0
    assert most_prominent(faces(), None) is None


def test_a_track_does_not_switch_to_a_larger_face() -> None:
    assert most_prominent(faces(SMALL, LARGE), np.array([2, 2, 22, 22])) == 0
    assert most_prominent(faces(LARGE), np.array([2, 2, 22, 22])) is None


def test_degenerate_detections_are_skipped() -> None:
    found = faces((5.0, 5.0, 5.2, 30.0), SMALL)
    assert most_prominent(found, None) == 1
    found.landmarks[1, 2] = np.nan
    assert most_prominent(found, None) is None


def test_landmarks_are_linear_between_detections_and_constant_outside() -> None:
    base = np.arange(10, dtype=float).reshape(1, 5, 2)
    marks = smooth_landmarks(np.array([2, 7]), np.concatenate([base, base + 10]), 12, 5)
    assert marks.shape == (12, 5, 2) and marks.dtype == np.float32
    np.testing.assert_array_equal(marks[:3], np.broadcast_to(marks[2], (3, 5, 2)))
    np.testing.assert_array_equal(marks[8:], np.broadcast_to(marks[7], (4, 5, 2)))
    np.testing.assert_allclose(np.diff(marks[2:8], axis=0), np.diff(marks[2:8], axis=0)[:1].repeat(5, 0), atol=1e-5)


def test_smoothing_removes_jitter_and_preserves_steady_motion() -> None:
    looks = np.arange(0, 100, 5)
    steady = np.broadcast_to(looks[:, None, None], (20, 5, 2)).astype(float)
    jitter = np.where(np.arange(20) % 2, 3.0, -3.0)[:, None, None]
    marks = smooth_landmarks(looks, steady + jitter, 96, 5)[20:76, 0, 0]
    assert np.abs(marks - np.arange(20, 76)).max() < 0.6
