"""Drawing primitives on a square canvas. Coordinates run from -0.5 to 0.5, with the origin in the middle and y down."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

CANVAS_PX = 192
SHIFT = 4
_AXIS = (np.arange(CANVAS_PX) + 0.5) / CANVAS_PX - 0.5
X, Y = np.meshgrid(_AXIS, _AXIS)
_LENS_T = np.concatenate([np.linspace(-1, 1, 15), np.linspace(1, -1, 15)])
_LENS_ARC = (1 - _LENS_T**2) ** 0.75
_LENS_FIRST = np.repeat([1.0, 0.0], 15)


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Convert canvas coordinates (side 1, origin in the middle) to OpenCV's fixed-point pixel coordinates."""
    return np.round(((points + 0.5) * CANVAS_PX - 0.5) * 2**SHIFT).astype(np.int32)


def mask_of(points: np.ndarray) -> np.ndarray:
    """Return the coverage in [0, 1] of a polygon in canvas coordinates, (CANVAS_PX, CANVAS_PX)."""
    mask = np.zeros((CANVAS_PX, CANVAS_PX), np.uint8)
    cv2.fillPoly(mask, [fixed_point(points)], 255, cv2.LINE_AA, SHIFT)
    return mask / 255.0


def soft(mask: np.ndarray, sigma_px: float) -> np.ndarray:
    """Blur a mask with a Gaussian."""
    return cv2.GaussianBlur(mask, (0, 0), sigma_px)


def spot(x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    """Return a Gaussian elliptical spot with a peak value of 1."""
    return np.exp(-(((X - x) / radius_x) ** 2) - ((Y - y) / radius_y) ** 2)


def over(canvas: np.ndarray, coverage: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """Blend a colour onto the canvas, weighted by coverage."""
    weight = coverage[..., None]
    return canvas * (1 - weight) + rgb * weight


def opaque(**rgb: Iterable[float]) -> dict[str, tuple[int, int, int, int]]:
    """Convert RGB triples to opaque RGBA tuples for OpenCV, clipped to [0, 255]."""
    colours = {}
    for name, triple in rgb.items():
        red, green, blue = (int(min(max(value, 0), 255)) for value in triple)
        colours[name] = (red, green, blue, 255)
    return colours


def lens(
    x: float, y: float, half_width: float, tilt: float, first: float, second: float, bend: float = 0.0
) -> np.ndarray:
    """Return the area between two arcs that meet at their ends, as (30, 2) fixed-point vertices.

    The arcs bulge by ``first`` and ``second`` (positive: down); ``bend`` lowers both ends.
    """
    bulge = second + (first - second) * _LENS_FIRST
    points = np.empty((len(_LENS_T), 2))
    points[:, 0] = x + half_width * _LENS_T
    points[:, 1] = y + tilt * _LENS_T + bulge * _LENS_ARC + bend * _LENS_T**2
    return fixed_point(points)


def fill(canvas: np.ndarray, points: np.ndarray, colour: tuple[int, int, int, int]) -> None:
    """Fill a polygon of fixed-point vertices."""
    cv2.fillPoly(canvas, [points], colour, cv2.LINE_AA, SHIFT)


def line(canvas: np.ndarray, points: np.ndarray, thickness_px: int, colour: tuple[int, int, int, int]) -> None:
    """Draw an open line through fixed-point vertices."""
    cv2.polylines(canvas, [points], False, colour, thickness_px, cv2.LINE_AA, SHIFT)


def disc(canvas: np.ndarray, x: float, y: float, radius: float, colour: tuple[int, int, int, int]) -> None:
    """Fill a circle given in canvas coordinates."""
    scale = CANVAS_PX * 2**SHIFT
    offset = scale / 2 - 2 ** (SHIFT - 1)
    centre = (round(x * scale + offset), round(y * scale + offset))
    cv2.circle(canvas, centre, round(radius * scale), colour, cv2.FILLED, cv2.LINE_AA, SHIFT)
