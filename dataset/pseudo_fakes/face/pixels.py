"""Pixel operations of the face pseudo-fakes. Crops are aligned, (T, 224, 224, 3) uint8 RGB."""

from __future__ import annotations

import cv2
import numpy as np

from utils.features.face.crops import CROP_PX

Y, X = np.mgrid[:CROP_PX, :CROP_PX].astype(np.float32)
"""Row and column of every pixel of a crop, (224, 224) float32."""

FLOW_PX = 112
"""Side of the images for optical flow."""


def through_grid(frame: np.ndarray, side_px: int, enlarge: int = cv2.INTER_CUBIC) -> np.ndarray:
    """Scale a crop (224, 224, 3) down to `side_px` and up again; return it unchanged if `side_px` is not smaller."""
    if side_px >= CROP_PX:
        return frame
    small = cv2.resize(frame, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (CROP_PX, CROP_PX), interpolation=enlarge)


def smooth_noise(rng: np.random.Generator, length: int, sigma: float) -> np.ndarray:
    """Return Gaussian noise (length,) of unit variance, smoothed over `sigma` steps."""
    steps = np.arange(length)
    kernel = np.exp(-0.5 * ((steps[:, None] - steps[None]) / sigma) ** 2)
    return kernel @ rng.normal(size=length) / np.sqrt((kernel**2).sum(axis=1))


def moved_pixels(
    frame: np.ndarray, dx: np.ndarray, dy: np.ndarray, interpolation: int = cv2.INTER_LINEAR
) -> np.ndarray:
    """Resample a crop by taking pixel (x, y) from (x + dx, y + dy); `dx` and `dy` are (224, 224)."""
    columns, rows = (X + dx).astype(np.float32), (Y + dy).astype(np.float32)
    return cv2.remap(frame, columns, rows, interpolation, borderMode=cv2.BORDER_REPLICATE)


class OpticalFlow:
    """Dense optical flow by inverse search (Kroeger et al., 2016)."""

    def __init__(self, preset: int) -> None:
        """Create the estimator with one of OpenCV's presets."""
        self._engine = cv2.DISOpticalFlow.create(preset)

    def __call__(self, grey: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the displacement of each pixel from one image (H, W) uint8 to the other: (H, W, 2) float32 px, x before y."""
        return self._engine.calc(grey, other, np.zeros((*grey.shape, 2), np.float32))


def small_grey(crops: np.ndarray) -> list[np.ndarray]:
    """Convert crops to grey levels (112, 112) uint8 for optical flow."""
    grey = (cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops)
    return [cv2.resize(image, (FLOW_PX, FLOW_PX), interpolation=cv2.INTER_AREA) for image in grey]


def as_bytes(image: np.ndarray) -> np.ndarray:
    """Round and clip real numbers to uint8."""
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)
