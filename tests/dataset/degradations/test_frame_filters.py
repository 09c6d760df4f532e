"""The frame filters as pure functions."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.degradations import frame_filters as filters


@pytest.fixture
def frame() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(60, 190, (96, 120, 3), np.uint8)


@pytest.mark.parametrize(
    ("function", "level"),
    [
        (filters.down_up, 3),
        (filters.blur, 0.01),
        (filters.noise, 5),
        (filters.brightness, 20),
        (filters.contrast, 0.5),
        (filters.saturation, 0.5),
        (filters.block_drop, 0.1),
        (filters.crop, 0.8),
    ],
)
def test_filters_are_pure_and_repeatable(frame, function, level):
    before = frame.copy()
    first = function(frame, level, np.random.default_rng(1))
    again = function(frame, level, np.random.default_rng(1))
    assert np.array_equal(frame, before)
    assert np.array_equal(first, again)
    assert first.dtype == np.uint8 and first.ndim == 3
    assert not np.array_equal(first, frame)


def test_down_up_keeps_gradients_and_removes_detail():
    ramp = np.repeat(np.linspace(40, 200, 96).astype(np.uint8)[:, None, None], 120, axis=1).repeat(3, axis=2)
    assert np.abs(filters.down_up(ramp, 3).astype(int) - ramp)[4:-4].max() <= 2
    stripes = np.zeros((96, 120, 3), np.uint8)
    stripes[::2] = 200
    assert filters.down_up(stripes, 4).std() < 0.05 * stripes.std()


def test_blur_has_the_stated_width():
    point = np.zeros((200, 240, 3), np.uint8)
    point[100, 110:130] = 255
    row = filters.blur(point, 0.02)[:, 120, 0].astype(float)
    at = np.arange(200) - 100
    assert np.sqrt((row * at**2).sum() / row.sum()) == pytest.approx(4.0, rel=0.1)


def test_noise_has_the_stated_standard_deviation(frame):
    grey = np.full_like(frame, 128)
    found = filters.noise(grey, 10, np.random.default_rng(0)).astype(float) - 128
    assert found.std() == pytest.approx(10, rel=0.02)
    assert abs(found.mean()) < 0.3
    assert abs(np.corrcoef(found[..., 0].ravel(), found[..., 1].ravel())[0, 1]) < 0.03


def test_brightness_and_contrast_are_as_stated_and_clip(frame):
    assert np.array_equal(filters.brightness(frame, 32), frame + 32)
    assert filters.brightness(frame, 100).max() == 255
    assert filters.contrast(frame, 0.5).std() == pytest.approx(frame.std() / 2, rel=0.01)
    assert np.array_equal(filters.contrast(np.full_like(frame, 128), 0.3), np.full_like(frame, 128))


def test_zero_saturation_is_grey_and_keeps_luma(frame):
    grey = filters.saturation(frame, 0.0)
    assert np.ptp(grey.astype(int), axis=2).max() == 0
    luma = frame @ filters.REC_601_LUMA
    for factor in (0.0, 0.6):
        assert np.abs(filters.saturation(frame, factor) @ filters.REC_601_LUMA - luma).max() <= 1.0


@pytest.mark.parametrize("share", [0.05, 0.4])
def test_block_drop_removes_the_stated_share_at_varying_positions(share):
    white = np.full((96, 120, 3), 255, np.uint8)
    rng = np.random.default_rng(0)
    lost = [(filters.block_drop(white, share, rng) == 128).all(axis=2) for _ in range(2)]
    assert lost[0].mean() == pytest.approx(share, abs=0.005)
    assert not np.array_equal(*lost)
    side = 96 // filters.BLOCKS_PER_SIDE
    assert np.array_equal(lost[0], lost[0][::side, ::side].repeat(side, axis=0).repeat(side, axis=1))


@pytest.mark.parametrize("shape", [(96, 120), (33, 47), (9, 120)])
def test_crop_keeps_the_middle_and_even_sides(shape):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    frame = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    kept = filters.crop(frame, 0.6)
    for axis in (0, 1):
        wanted = max(int(0.6 * shape[axis]) // 2 * 2, 16)
        assert kept.shape[axis] == min(wanted, shape[axis])
        middle = kept[..., axis].astype(float).mean()
        assert middle == pytest.approx((shape[axis] - 1) / 2, abs=0.51)


@pytest.mark.parametrize("factor", [5 / 6, 2 / 3, 1 / 2, 1 / 3, 1 / 5, 1.0, 1.5])
def test_frame_rate_change_keeps_duration_and_order(factor):
    stream = [np.full((1, 1, 3), index, np.uint8) for index in range(60)]
    kept = [int(frame[0, 0, 0]) for frame in filters.change_frame_rate(iter(stream), factor)]
    assert len(kept) == pytest.approx(60 * factor, abs=1)
    assert kept == [int(n / factor + 1e-6) for n in range(len(kept))]
