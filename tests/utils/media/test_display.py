"""Display geometry: all eight orientations and non-square pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from utils.media.decode import ClipStream
from utils.media.display import DisplayGeometry, orientation

FRAME = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
ONE = 1 << 16


def matrix(a: int, b: int, c: int, d: int) -> np.ndarray:
    return np.array([a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30], np.int32)


def shown(frame: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Apply the definition of a display matrix: move (x, y) to (a x + c y, b x + d y), then shift to the origin."""
    a, b, c, d = (int(transform[index]) // ONE for index in (0, 1, 3, 4))
    height, width = frame.shape[:2]
    target = {(a * x + c * y, b * x + d * y): frame[y, x] for y in range(height) for x in range(width)}
    columns, rows = sorted({x for x, _ in target}), sorted({y for _, y in target})
    return np.array([[target[x, y] for x in columns] for y in rows])


@pytest.mark.parametrize(
    "transform",
    [
        matrix(*terms)
        for terms in (
            (1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0),
            (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0),
        )
    ],
    ids=["0", "90", "180", "270", "h-flip", "v-flip", "transpose", "transverse"],
)  # fmt: skip
def test_all_eight_orientations(transform: np.ndarray) -> None:
    mirrored, rotation_deg = orientation(transform)
    np.testing.assert_array_equal(
        DisplayGeometry(mirrored=mirrored, rotation_deg=rotation_deg).apply(FRAME), shown(FRAME, transform)
    )


@pytest.mark.parametrize(
    "terms", [(0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 0, 1), (-1, -1, -1, -1), (32767, 32767, 32767, 32767)]
)
def test_matrix_that_is_no_rotation_is_ignored(terms: tuple[int, int, int, int]) -> None:
    assert orientation(matrix(*terms)) == (False, 0)


@pytest.mark.parametrize(("aspect", "size"), [(2.0, (40, 120)), (0.5, (80, 60)), (1.0, (40, 60)), (1.004, (40, 60))])
def test_non_square_pixels_are_enlarged_to_squares(aspect: float, size: tuple[int, int]) -> None:
    frame = np.zeros((40, 60, 3), np.uint8)
    assert DisplayGeometry(aspect).apply(frame).shape[:2] == size


def test_rotation_is_read_from_the_file(media, tmp_path: Path) -> None:
    stream = ClipStream(media.clip(tmp_path / "turned.mp4", rotation_deg=90), audio=False)
    assert sum(1 for _ in stream) and stream.facts.display == DisplayGeometry(rotation_deg=90)
