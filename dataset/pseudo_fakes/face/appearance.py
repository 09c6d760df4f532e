"""Renderings of a face with artefacts in single frames: lower resolution, less grain, different colours or position.

A rendering takes crops (T, 224, 224, 3) uint8 RGB and returns crops of the same shape. All random choices are drawn from the
generator. `strength` scales the artefact: 0 leaves the face nearly unchanged; experts are trained with 1.
"""

from __future__ import annotations

import cv2
import numpy as np

from dataset.pseudo_fakes.face.pixels import as_bytes, through_grid
from utils.features.face.crops import CROP_PX

PIVOT = (112.0, 126.0)
"""Centre of the face in a crop, the pivot of rotation and scaling."""


def softened_side(rng: np.random.Generator, low_px: float, high_px: float, strength: float) -> int:
    """Draw a grid side for `through_grid` between two bounds in px; a lower strength gives a finer grid."""
    side = rng.uniform(low_px, high_px)
    return int(side + (1 - strength) * max(0.0, CROP_PX - side))


def low_resolution(crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Resample through a grid of 60-150 px, the output size of many generators."""
    side = softened_side(rng, 60, 150, strength)
    enlarge = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
    return np.stack([through_grid(crop, side, enlarge) for crop in crops])


def denoised(crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Apply edge-preserving smoothing, which removes pores and grain, and sometimes sharpen afterwards."""
    difference, sharpened = strength * rng.uniform(10, 40), rng.random() < 0.4
    smooth = [cv2.bilateralFilter(crop, 7, difference, 3) for crop in crops]
    if sharpened:
        smooth = [cv2.addWeighted(crop, 1.5, cv2.GaussianBlur(crop, (0, 0), 1.5), -0.5, 0) for crop in smooth]
    return np.stack(smooth)


def moved(crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Displace the face by a small constant offset plus jitter, and change its colour and resolution."""
    steady, shaking = rng.normal(0, 1.2, 3), rng.uniform(0, 0.5) * rng.normal(size=(len(crops), 3))
    path = strength * (steady + shaking)
    gain, shift = 1 + strength * rng.normal(0, 0.04, 3), strength * rng.normal(0, 5, 3)
    side = softened_side(rng, 100, 300, strength)
    return np.stack(
        [
            as_bytes(through_grid(turned(crop, *step), side) * gain + shift)
            for crop, step in zip(crops, path, strict=True)
        ]
    )


def turned(crop: np.ndarray, dx: float, dy: float, grow: float) -> np.ndarray:
    """Move a crop by (dx, dy) px, rotate it by 0.4 degrees per px of dx, and scale it by 0.6 % per unit of `grow`."""
    matrix = cv2.getRotationMatrix2D(PIVOT, 0.4 * dx, 1 + 0.006 * grow)
    matrix[:, 2] += np.array([dx, dy])
    size = (CROP_PX, CROP_PX)
    return cv2.warpAffine(crop, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def self_blended(crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Change colour, sharpness, size and position of the face (self-blended images, Shiohara and Yamasaki, 2022).

    In contrast to `moved`, the displacement is constant, hue, saturation and brightness change, and the result may be
    sharper than the face.
    """
    matrix = np.array(
        [[1 + strength * rng.uniform(-0.05, 0.05), 0, 0], [0, 1 + strength * rng.uniform(-0.05, 0.05), 0]]
    )
    matrix[:, 2] = PIVOT - matrix[:, :2] @ PIVOT + strength * rng.uniform(-0.03, 0.03, 2) * CROP_PX
    hue_deg, saturation, brightness = strength * rng.uniform(-1, 1, 3) * (8, 0.25, 0.12)
    channels = strength * rng.uniform(-12, 12, 3)
    sharpness = strength * (rng.uniform(0.3, 1.2) if rng.random() < 0.5 else -rng.uniform(0.3, 1.0))
    side = softened_side(rng, 110, 220, strength) if sharpness < 0 else CROP_PX
    copies = []
    for crop in crops:
        copy = cv2.warpAffine(
            crop, matrix, (CROP_PX, CROP_PX), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        )
        copy = as_bytes(recoloured(copy, hue_deg, 1 + saturation, 1 + brightness) + channels)
        blurred = cv2.GaussianBlur(copy, (0, 0), 1.2)
        copies.append(through_grid(cv2.addWeighted(copy, 1 + sharpness, blurred, -sharpness, 0), side))
    return np.stack(copies)


def recoloured(crop: np.ndarray, hue_deg: float, saturation: float, brightness: float) -> np.ndarray:
    """Rotate a crop's hue and scale its saturation and brightness; return float32 in [0, 255]."""
    hsv = cv2.cvtColor(crop.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + hue_deg) % 360
    hsv[..., 1:] = np.clip(hsv[..., 1:] * (saturation, brightness), 0, 1)
    return 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
