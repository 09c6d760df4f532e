"""The face detector: positions of landmarks, frames without a face, and frames of any size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.support import head_frames
from utils.errors import UsageError
from utils.features.face import detector
from utils.features.face.detector import (
    COARSE_FROM_PX,
    SIDE_PX,
    FaceDetector,
    anchors,
    overlap,
    overlaps,
    shared_detector,
    suppress_overlaps,
)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("identity", range(3))
def test_a_face_is_found_once_with_its_landmarks_in_place(identity: int) -> None:
    found = shared_detector()(head_frames(identity, 2)[0])
    assert len(found) == 1 and found.scores[0] > 0.9
    (left, top, right, bottom), marks = found.boxes[0], found.landmarks[0]
    assert ((marks > [left, top]) & (marks < [right, bottom])).all()
    left_eye, right_eye, nose, left_corner, right_corner = marks
    assert left_eye[0] < nose[0] < right_eye[0] and left_corner[0] < right_corner[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_corner[1], right_corner[1])


def test_detections_scale_with_the_frame() -> None:
    head = head_frames(0, 2)[0]
    canvas = np.full((400, 300, 3), 90, np.uint8)
    canvas[200:328, 150:278] = head
    alone, placed = shared_detector()(head), shared_detector()(canvas)
    np.testing.assert_allclose(placed.landmarks[0], alone.landmarks[0] + [150, 200], atol=4)
    double = shared_detector()(head.repeat(6, axis=0).repeat(6, axis=1))
    np.testing.assert_allclose(double.landmarks[0] / 6, alone.landmarks[0], atol=4)


@pytest.mark.parametrize("size", [(1, 1), (2, 500), (500, 3), (101, 77), (48, 64), (1081, 1921)])
def test_frames_of_any_size_without_a_face_give_no_detection(size: tuple[int, int]) -> None:
    assert len(shared_detector()(noise(*size))) == 0
    assert len(shared_detector()(np.zeros((*size, 3), np.uint8))) == 0


def test_the_same_frame_gives_the_same_faces() -> None:
    frame = head_frames(1, 2)[1]
    first, second = FaceDetector()(frame), shared_detector()(frame)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    np.testing.assert_array_equal(first.landmarks, second.landmarks)


@pytest.mark.parametrize("side", [150, 220])
def test_a_large_face_is_found_equally_without_the_finest_grid(side: int) -> None:
    frame = with_heads(side)
    everything = shared_detector()(frame)
    assert len(everything) == 1
    assert (everything.boxes[0, 2:] - everything.boxes[0, :2]).min() > COARSE_FROM_PX
    large = shared_detector()(frame, least_side_px=COARSE_FROM_PX)
    np.testing.assert_array_equal(large.landmarks, everything.landmarks)
    np.testing.assert_array_equal(large.boxes, everything.boxes)


def test_small_faces_are_left_out_where_they_are_of_no_interest() -> None:
    frame = with_heads(170, 80)
    assert len(shared_detector()(frame)) == 2
    assert len(shared_detector()(frame, least_side_px=COARSE_FROM_PX - 1)) == 2
    assert len(shared_detector()(frame, least_side_px=COARSE_FROM_PX)) == 1


def with_heads(*sides: int) -> np.ndarray:
    """Return a frame of the size of the canvas with heads of these sides in px in a row. Faces are two fifths as wide."""
    frame = np.full((SIDE_PX, SIDE_PX, 3), 90, np.uint8)
    left = 10
    for side in sides:
        frame[90 : 90 + side, left : left + side] = cv2.resize(head_frames(0, 2)[0], (side, side))
        left += side + 40
    return frame


@pytest.mark.parametrize("weights", ["COARSE_WEIGHTS", "FINE_WEIGHTS"])
def test_missing_weights_are_reported(weights: str, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(detector, weights, tmp_path / "face_detector.onnx")
    with pytest.raises(UsageError, match="face_detector.onnx is missing"):
        FaceDetector()


def test_anchors_cover_the_canvas_cell_by_cell() -> None:
    grid = anchors()
    assert grid.shape == (2 * (40**2 + 20**2 + 10**2), 3)
    np.testing.assert_array_equal(grid[:3], [[4, 4, 16], [4, 4, 32], [12, 4, 16]])
    assert grid[:, :2].max() < SIDE_PX


def test_highest_score_is_kept_among_overlapping_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], np.float32)
    assert suppress_overlaps(boxes, np.array([0.7, 0.9, 0.8])) == [1, 2]
    assert suppress_overlaps(boxes[:0], np.zeros(0)) == []
    np.testing.assert_allclose(overlaps(boxes, boxes[0]), [1, 90 / 110, 0])
    assert overlap(boxes[0], boxes[1]) == pytest.approx(90 / 110)
    assert overlap(boxes[0], boxes[2]) == 0.0 == overlap(np.zeros(4), np.zeros(4))
