"""Motion of the upper face from frame to frame, at a fixed rate.

People's faces, and the cameras that film them, move irregularly. Faces that a network renders from audio or from a driving
video move smoothly. The series of this module let an expert measure that.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils.features.face.crops import CROP_PX

MOTION_HZ = 25
MAX_MOTION_STEPS = 128
"""Number of steps in a face window at 20 frames per second. A slower clip has more; only its first steps are used."""

FLOW_PX = 28
"""Side of the image on which optical flow is computed: compression noise and fine texture are averaged out."""

FLOW_REGIONS = {
    "left eye": (9, 13, 6, 12),
    "right eye": (9, 13, 15, 22),
    "brow": (3, 8, 6, 21),
    "left cheek": (15, 21, 4, 9),
    "right cheek": (15, 21, 18, 23),
    "nose": (12, 17, 11, 16),
}
"""Top, bottom, left and right of each region in px of the flow image. The mouth is left out: speech dominates its motion."""

EYES = (80, 100, 60, 164)
"""Both eyes in px of a 224-px crop."""

MOTION_CHANNELS = 2 * len(FLOW_REGIONS) + 1
"""C: x and y velocity of each region, then the change of the eyes' brightness."""


def motion_series(crops: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Measure the motion of an aligned face.

    Optical flow is Farneback's (2003). It is computed between consecutive frames and interpolated to `MOTION_HZ`, so the time
    between two steps does not depend on the frame rate of the clip.

    Args:
        crops: (T, 224, 224, 3) uint8 RGB, consecutive frames.
        times_s: (T,) presentation times, ascending.

    Returns:
        (T', C) float32 with T' <= `MAX_MOTION_STEPS`: the median velocity of each region, in px of the flow image per second,
        then the change of the eyes' mean grey level from one step to the next. T' = 0 for fewer than three frames.

    Raises:
        ValueError: the crops have another shape.
    """
    if crops.shape[1:] != (CROP_PX, CROP_PX, 3):
        raise ValueError(f"crops are (T, {CROP_PX}, {CROP_PX}, 3), not {crops.shape}")
    # The tolerance keeps a last frame that misses the grid only by round-off.
    count = min(MAX_MOTION_STEPS, int((times_s[-1] - times_s[0]) * MOTION_HZ + 1e-3))
    if len(crops) < 3 or count < 1:
        return np.zeros((0, MOTION_CHANNELS), np.float32)
    grey = [cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops]
    small = [cv2.resize(image, (FLOW_PX, FLOW_PX), interpolation=cv2.INTER_AREA) for image in grey]
    flow = np.stack([optical_flow(*pair) for pair in zip(small[:-1], small[1:], strict=True)])
    velocity = region_medians(flow) / np.diff(times_s)[:, None]
    top, bottom, left, right = EYES
    brightness = np.array([image[top:bottom, left:right].mean() for image in grey])

    grid = times_s[0] + np.arange(count + 1) / MOTION_HZ
    middle = (grid[1:] + grid[:-1]) / 2
    between = (times_s[1:] + times_s[:-1]) / 2
    columns = [np.interp(middle, between, channel) for channel in velocity.T]
    columns.append(np.diff(np.interp(grid, times_s, brightness)))
    return np.stack(columns, axis=1).astype(np.float32)


def scorable(motion: np.ndarray) -> np.ndarray:
    """Return the steps of a motion (T, C), or none of them if a channel is constant: a still picture has no motion to score."""
    return motion[:0] if len(motion) and not np.ptp(motion, axis=0).all() else motion


def optical_flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the displacement (28, 28, 2) of each pixel between two grey images (28, 28), in px as x, y."""
    flow = np.zeros((*before.shape, 2), np.float32)
    return cv2.calcOpticalFlowFarneback(
        before, after, flow, pyr_scale=0.5, levels=1, winsize=7, iterations=2, poly_n=5, poly_sigma=1.1, flags=0
    )


def region_medians(flow: np.ndarray) -> np.ndarray:
    """Return the median x and y displacement of each region, (T, 2 R), from flow (T, 28, 28, 2)."""
    # One call for all frames: a call of `np.median` costs more than the median itself.
    medians = [
        np.median(flow[:, top:bottom, left:right], axis=(1, 2)) for top, bottom, left, right in FLOW_REGIONS.values()
    ]
    return np.concatenate(medians, axis=1)
