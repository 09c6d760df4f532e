"""The frame histogram compared with numpy, for all memory layouts of decoded frames."""

from __future__ import annotations

import numpy as np
import pytest

from utils.features import histogram as histogram_module
from utils.features.histogram import HistogramRows, rgb_histogram


@pytest.fixture(autouse=True, params=["compiled", "without numba"])
def kernel(request, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without numba":
        monkeypatch.setattr(histogram_module, "numba", None)
        monkeypatch.setattr(histogram_module, "LEVELS_PER_CALL", 1000)


def reference(frame: np.ndarray) -> np.ndarray:
    return sum(np.histogram(frame[..., channel], bins=256, range=(0, 256))[0] for channel in range(3))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (17, 33), (48, 64), (90, 127)])
@pytest.mark.parametrize("padding", [0, 1, 13])
def test_equals_numpy_for_any_width_and_row_padding(height: int, width: int, padding: int) -> None:
    rng = np.random.default_rng(height * width + padding)
    memory = rng.integers(0, 256, (height, width * 3 + padding), np.uint8)
    frame = np.ndarray((height, width, 3), np.uint8, buffer=memory, strides=(memory.strides[0], 3, 1))

    histogram = rgb_histogram(frame)

    assert histogram.dtype == np.int32 and histogram.sum() == 3 * height * width
    np.testing.assert_array_equal(histogram, reference(frame))


def test_extreme_levels_fall_into_the_outer_bins() -> None:
    frame = np.zeros((2, 3, 3), np.uint8)
    frame[0] = 255
    histogram = rgb_histogram(frame)
    assert histogram[0] == 9 and histogram[255] == 9 and histogram.sum() == 18


def test_rows_grow_beyond_the_initial_capacity() -> None:
    rows = HistogramRows()
    assert rows.array().shape == (0, 256)
    for level in range(600):
        rows.add(np.full((2, 2, 3), level % 256, np.uint8))
    assert rows.array().shape == (600, 256) and rows.array().dtype == np.int32
    np.testing.assert_array_equal(rows.array().argmax(axis=1), np.arange(600) % 256)
