"""Random masks (224, 224, 1) float32 in [0, 1] of the area of an aligned crop that a pseudo-fake forges."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from dataset.pseudo_fakes.face.pixels import X, Y
from utils.features.face.crops import CROP_PX

FACE_CENTRE, FACE_RADII = (112.0, 126.0), (58.0, 72.0)
OUTLINE_POINTS = 24
BLEND_SHARES = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
"""Opacities of the blended face, as in self-blended images."""

LEAST_FEATHER_PX = 0.6


def superellipse(
    rng: np.random.Generator,
    centre: tuple[float, float],
    radii: tuple[float, float],
    feather_px: float,
    power: int = 2,
) -> np.ndarray:
    """Draw an ellipse (power 2) or a rounded box (power 8), displaced by a few px, scaled by up to 25 %, with a soft edge."""
    (x, y), (width, height) = centre, radii
    x, y = x + rng.normal(0, 4), y + rng.normal(0, 4)
    width, height = width * rng.uniform(0.8, 1.25), height * rng.uniform(0.8, 1.25)
    inside = np.abs((X - x) / width) ** power + np.abs((Y - y) / height) ** power < 1
    return soft(inside.astype(np.float32), feather_px)


def soft(mask: np.ndarray, feather_px: float) -> np.ndarray:
    """Blur the edge of a mask (224, 224); return (224, 224, 1)."""
    return cv2.GaussianBlur(mask, (0, 0), max(feather_px, LEAST_FEATHER_PX))[..., None]


def mouth_mask(rng: np.random.Generator) -> np.ndarray:
    """Draw the lower face that lip-sync generators replace: a box or an ellipse from eyes or nose to the chin."""
    if rng.random() < 0.5:
        return superellipse(rng, (112, 160), (48, 42), rng.uniform(1, 8), power=8)
    return superellipse(rng, (112, 150), (38, 30), rng.uniform(2, 10))


def face_mask(rng: np.random.Generator) -> np.ndarray:
    """Draw the inner face that face swaps replace."""
    return superellipse(rng, FACE_CENTRE, FACE_RADII, rng.uniform(2, 10))


def outline_mask(rng: np.random.Generator) -> np.ndarray:
    """Draw the blurred hull of jittered outline points, partly transparent (Shiohara and Yamasaki, 2022)."""
    angles = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    size = rng.uniform(0.75, 1.15) * (1 + rng.normal(0, 0.08, OUTLINE_POINTS))
    points = np.stack(
        [
            FACE_CENTRE[0] + FACE_RADII[0] * size * np.cos(angles),
            FACE_CENTRE[1] + FACE_RADII[1] * size * np.sin(angles),
        ],
        axis=1,
    )
    points = points[points[:, 1] > rng.uniform(40, 100)]  # between the whole face and the part below the eyes
    mask = np.zeros((CROP_PX, CROP_PX), np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.float32)).round().astype(np.int32), 1.0)
    return soft(mask, rng.uniform(2, 10)) * np.float32(rng.choice(BLEND_SHARES))


def blob_mask(rng: np.random.Generator) -> np.ndarray:
    """Draw a blob at any position, so that the position alone is not a cue."""
    x, y = rng.uniform(40, 184, 2)
    width, height = rng.uniform(22, 60, 2)
    return superellipse(rng, (x, y), (width, height), rng.uniform(1, 10), int(rng.choice([2, 8])))


def whole_mask(_: np.random.Generator) -> np.ndarray:
    """Cover the whole crop, as talking heads from one image and text-to-video do."""
    return np.ones((CROP_PX, CROP_PX, 1), np.float32)


FACE_MASKS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "mouth": mouth_mask,
    "face": face_mask,
    "outline": outline_mask,
    "blob": blob_mask,
    "whole": whole_mask,
}
