"""The motion of a face: sign, magnitude and sample rate."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from utils.features.face.crops import CROP_PX
from utils.features.face.motion import (
    FLOW_PX,
    FLOW_REGIONS,
    MAX_MOTION_STEPS,
    MOTION_CHANNELS,
    MOTION_HZ,
    motion_series,
    scorable,
)

REGIONS = len(FLOW_REGIONS)
PX = CROP_PX / FLOW_PX
"""Side of a flow pixel in pixels of the crop."""


def moving_face(
    times_s: np.ndarray,
    path: Callable[[np.ndarray], np.ndarray],
    brightness: Callable[[np.ndarray], np.ndarray] = np.zeros_like,
) -> np.ndarray:
    """Return crops (T, 224, 224, 3) of a texture.

    Args:
        times_s: (T,).
        path: returns the x position in flow pixels at each time.
        brightness: returns grey levels to add at each time.
    """
    texture = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
    texture = cv2.GaussianBlur(texture, (0, 0), 14)
    texture = 120 + 35 * texture / texture.std()
    crops = []
    for x, level in zip(path(times_s), brightness(times_s), strict=True):
        moved = cv2.warpAffine(texture, np.float32([[1, 0, x * PX - 38], [0, 1, -38]]), (CROP_PX, CROP_PX))
        crops.append(np.clip(moved + level, 0, 255).astype(np.uint8))
    return np.stack(crops)[..., None].repeat(3, axis=-1)


def clock(fps: float, seconds: float = 2.0) -> np.ndarray:
    return 5.0 + np.arange(round(seconds * fps) + 1) / fps


def test_series_has_one_row_per_step_and_one_column_per_channel() -> None:
    times_s = clock(25)
    series = motion_series(moving_face(times_s, np.zeros_like), times_s)
    assert series.shape == (2 * MOTION_HZ, MOTION_CHANNELS) == (50, 2 * REGIONS + 1) and series.dtype == np.float32
    assert not series.any(), "a still face does not move"


@pytest.mark.parametrize("velocity", [5.0, -5.0])
def test_translation_has_its_sign_and_magnitude(velocity: float) -> None:
    times_s = clock(25, 0.6)
    series = motion_series(moving_face(times_s, lambda at: velocity * (at - 5.3)), times_s)
    x, y = series[:, 0 : 2 * REGIONS : 2], series[:, 1 : 2 * REGIONS : 2]
    np.testing.assert_allclose(np.median(x, axis=0), velocity, rtol=0.2)
    np.testing.assert_allclose(np.median(y, axis=0), 0, atol=0.5)


def test_brightness_is_measured_per_step() -> None:
    times_s = clock(25)
    series = motion_series(moving_face(times_s, np.zeros_like, lambda at: 10 * (at - 5)), times_s)
    np.testing.assert_allclose(series[:, -1].mean(), 10 / MOTION_HZ, rtol=0.1)
    np.testing.assert_allclose(series[:, :-1], 0, atol=0.5)


def test_series_hardly_depends_on_the_frame_rate() -> None:
    slow, fast = (
        motion_series(moving_face(clock(fps), lambda at: 0.6 * np.sin(9 * at)), clock(fps)) for fps in (25, 50)
    )
    assert slow.shape == fast.shape
    for channel in range(0, 2 * REGIONS, 2):
        assert np.corrcoef(slow[:, channel], fast[:, channel])[0, 1] > 0.98
        assert slow[:, channel].std() == pytest.approx(fast[:, channel].std(), rel=0.15)


def test_long_series_is_cut() -> None:
    times_s = np.arange(40.0)
    assert len(motion_series(moving_face(times_s, np.zeros_like), times_s)) == MAX_MOTION_STEPS


@pytest.mark.parametrize("times_s", [[1.0], [1.0, 1.04], [1.0, 1.01, 1.02]])
def test_too_few_frames_give_an_empty_series(times_s: list[float]) -> None:
    crops = moving_face(np.array(times_s), np.zeros_like)
    assert motion_series(crops, np.array(times_s)).shape == (0, MOTION_CHANNELS)


def test_crops_of_another_size_are_rejected() -> None:
    with pytest.raises(ValueError, match="224"):
        motion_series(np.zeros((5, 112, 112, 3), np.uint8), np.arange(5) / 25)


def test_a_still_picture_has_no_motion_to_score() -> None:
    moving = np.random.default_rng(0).normal(size=(30, MOTION_CHANNELS)).astype(np.float32)
    assert scorable(moving) is moving
    assert len(scorable(np.zeros_like(moving))) == 0
    moving[:, -1] = 0.5
    assert len(scorable(moving)) == 0
    assert scorable(moving[:0]).shape == (0, MOTION_CHANNELS)
