"""Cut-outs and aligned crops: landmarks match the template at any size and rotation of the face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from utils.features.face.crops import (
    CROP_PX,
    MARGIN,
    TEMPLATE,
    CutOut,
    align,
    cut_region,
    halve,
    shrink,
    similarities,
    similarity,
)


def turned(points: np.ndarray, scale: float, angle_deg: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.deg2rad(angle_deg)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points @ matrix.T + np.array(shift)).astype(np.float32)


def cut_out(frame: np.ndarray, landmarks: np.ndarray) -> CutOut:
    return cut_region(landmarks, frame.shape[:2]).cut_out(frame)


def dotted(height: int, width: int, points: np.ndarray, radius: float) -> np.ndarray:
    """Return a dark frame with a bright spot at each point."""
    y, x = np.mgrid[:height, :width]
    spots = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2)) for px, py in points]
    return np.repeat((255 * np.clip(sum(spots), 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def spots_of(crop: np.ndarray) -> np.ndarray:
    """Return the positions of the spots near the template's landmarks, (5, 2)."""
    places = []
    for x, y in np.round(TEMPLATE).astype(int):
        near = crop[y - 12 : y + 13, x - 12 : x + 13, 0].astype(float)
        rows, columns = np.mgrid[y - 12 : y + 13, x - 12 : x + 13]
        places.append([(columns * near).sum() / near.sum(), (rows * near).sum() / near.sum()])
    return np.array(places)


@pytest.mark.parametrize(("scale", "angle_deg"), [(0.6, 0), (1.0, 25), (1.6, -30), (2.7, 10), (4.5, 0)])
def test_landmarks_are_aligned_with_the_template(scale: float, angle_deg: float) -> None:
    centred = TEMPLATE - TEMPLATE.mean(axis=0)
    marks = turned(centred, scale, angle_deg, (640.0, 380.0))
    frame = dotted(720, 1280, marks, 2.5 * scale)
    whole = align([frame], marks[None])
    cut = cut_out(frame, marks)
    from_cut = align([cut.pixels], cut.locate(marks)[None])
    assert whole.shape == from_cut.shape == (1, CROP_PX, CROP_PX, 3)
    np.testing.assert_allclose(spots_of(whole[0]), TEMPLATE, atol=0.5)
    np.testing.assert_allclose(spots_of(from_cut[0]), TEMPLATE, atol=0.5)


def test_a_similarity_is_recovered() -> None:
    matrix = similarity(turned(TEMPLATE, 2.0, 40, (5, -3)), TEMPLATE)
    mapped = turned(TEMPLATE, 2.0, 40, (5, -3)) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(mapped, TEMPLATE, atol=1e-3)
    assert np.isfinite(similarity(np.ones((5, 2)), TEMPLATE)).all()


def test_several_similarities_equal_single_ones() -> None:
    sets = np.stack([turned(TEMPLATE, 2.0, 40, (5, -3)), TEMPLATE, np.full((5, 2), 30, np.float32)])
    for points, matrix in zip(sets, similarities(sets, TEMPLATE), strict=True):
        np.testing.assert_array_equal(matrix, similarity(points, TEMPLATE))
        if np.ptp(points):
            np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-3)
    np.testing.assert_array_equal(similarities(sets, TEMPLATE)[2, :, :2], np.eye(2))


def test_a_cut_out_is_small_and_owns_its_memory() -> None:
    frame = np.zeros((2160, 3840, 3), np.uint8)
    for scale in (0.3, 1.0, 6.0):
        cut = cut_out(frame, turned(TEMPLATE - TEMPLATE.mean(axis=0), scale, 0, (1900.0, 1000.0)))
        assert max(cut.pixels.shape) <= MARGIN * CROP_PX * 4 / 3 + 2
        assert not np.shares_memory(cut.pixels, frame)


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 3), (9, 9), (101, 77)])
@pytest.mark.parametrize("place", [(0.0, 0.0), (-500.0, 40.0), (3000.0, 3000.0)])
def test_tiny_frames_and_faces_outside_them_give_a_crop(size: tuple[int, int], place: tuple[float, float]) -> None:
    frame = np.full((*size, 3), 7, np.uint8)
    for scale in (0.02, 1.0, 9.0):
        marks = turned(TEMPLATE - TEMPLATE.mean(axis=0), scale, 0, place)
        cut = cut_out(frame, marks)
        assert cut.pixels.size
        assert align([cut.pixels], cut.locate(marks)[None]).shape == (1, CROP_PX, CROP_PX, 3)


def test_coinciding_landmarks_are_handled() -> None:
    frame = np.full((60, 80, 3), 7, np.uint8)
    marks = np.full((5, 2), 30, np.float32)
    cut = cut_out(frame, marks)
    assert align([cut.pixels], cut.locate(marks)[None]).shape == (1, CROP_PX, CROP_PX, 3)


def test_shrinking_averages_without_aliasing() -> None:
    stripes = np.zeros((400, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    for scale in (0.5, 0.37, 0.2, 0.11):
        small, taken = shrink(stripes, scale)
        assert (taken <= scale / 0.75 + 1e-9).all() and (taken >= scale * 0.95).all()
        assert np.ptp(small[:, 2:-2]) <= 60
        np.testing.assert_allclose(np.array(small.shape[1::-1]) / taken, [600, 400], atol=4)
    same, taken = shrink(stripes, 0.9)
    assert same is stripes and (taken == 1).all()


def test_halving_stops_above_the_scale_and_at_one_pixel() -> None:
    assert halve(np.zeros((100, 100, 3), np.uint8), 0.26)[1] == 0.5
    small, taken = halve(np.zeros((1, 900, 3), np.uint8), 0.01)
    assert small.shape == (1, 900, 3) and taken == 1.0
    assert halve(np.zeros((7, 9, 3), np.uint8), 0.01)[0].shape == (1, 2, 3)


def test_the_crop_is_as_sharp_as_the_frame_allows() -> None:
    texture = cv2.resize(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8), (640, 480))
    marks = turned(TEMPLATE - TEMPLATE.mean(axis=0), 1.0, 0, (320.0, 240.0))
    crop = align([texture], marks[None])[0]
    x, y = np.round(np.array([320.0, 240.0]) - TEMPLATE.mean(axis=0)).astype(int)
    np.testing.assert_allclose(crop[20:200, 20:200].astype(float), texture[y + 20 : y + 200, x + 20 : x + 200], atol=14)
