"""Renderings of a face with artefacts over time: a mouth from another time, a frozen or stretched mouth, an animated still.

The interface is that of `dataset.pseudo_fakes.face.appearance`.
"""

from __future__ import annotations

import cv2
import numpy as np

from dataset.pseudo_fakes.face.appearance import softened_side
from dataset.pseudo_fakes.face.pixels import (
    FLOW_PX,
    OpticalFlow,
    X,
    Y,
    as_bytes,
    moved_pixels,
    small_grey,
    smooth_noise,
    through_grid,
)
from utils.features.face.crops import CROP_PX

MOUTH = (112.0, 160.0)
MOUTH_SPREAD_PX = (30.0, 18.0)

SPLICE_SHARE = (0.2, 0.5)
LEAST_SPLICE = 2
PART_FRAMES = (6, 13)
FLOW_MEMORY = 4


def mouth_retimed(crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Change the timing (reverse, shift by half the length, or smooth random walk), sometimes at lower resolution."""
    length, kind = len(crops), rng.integers(3)
    now = np.arange(length)
    wander = strength * length / 6 * smooth_noise(rng, length, 5)
    walk = (length - 1 - now, (now + length // 2) % length, now + wander)[kind]
    order = np.clip(np.round(walk), 0, length - 1).astype(int)
    side = softened_side(rng, 90, 300, strength)
    return np.stack([through_grid(crops[number], side) for number in order])


def mouth_from_elsewhere(crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Join parts of 6-12 frames from other times of the clip with soft transitions, as in cut-and-paste dubbing."""
    length, side = len(crops), softened_side(rng, 90, 300, strength)
    order, joints = np.arange(length), []
    start = 0
    while start < length:
        part = int(rng.integers(*PART_FRAMES))
        end = min(start + part, length)
        away = max(1, round(strength * length / 4))
        order[start:end] = (np.arange(start, end) + int(rng.integers(away, max(away + 1, length - away + 1)))) % length
        joints.append(start)
        start = end
    taken = [through_grid(crops[number], side) for number in order]
    for joint in joints[1:]:
        taken[joint] = cv2.addWeighted(taken[joint - 1], 0.5, taken[joint], 0.5, 0)
    return np.stack(taken)


def frozen_mouth(crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Repeat one frame throughout; a lower strength blends it with the clip."""
    still = crops[rng.integers(len(crops))]
    return np.stack([cv2.addWeighted(still, strength, crop, 1 - strength, 0) for crop in crops])


def mouth_stretched(crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Open and close the mouth of one frame by a smooth vertical stretch."""
    still, side = crops[rng.integers(len(crops))], softened_side(rng, 90, 300, strength)
    opening_px = 3.5 * strength * smooth_noise(rng, len(crops), rng.uniform(1.2, 3))
    (x, y), (across, along) = MOUTH, MOUTH_SPREAD_PX
    lower_face = np.exp(-(((X - x) / across) ** 2) - ((Y - y) / along) ** 2)
    none = np.zeros_like(lower_face)
    return np.stack(
        [through_grid(moved_pixels(still, none, -px * lower_face, cv2.INTER_CUBIC), side) for px in opening_px]
    )


def still_animated(crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Warp one frame along the clip's smoothed motion, which gives rigid texture without temporal noise."""
    anchor, small = int(rng.integers(len(crops))), small_grey(crops)
    flow_between = OpticalFlow(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    blur_px, memory = rng.uniform(2, 5), rng.uniform(0.5, 1.5)
    flows = np.stack([cv2.GaussianBlur(flow_between(one, small[anchor]), (0, 0), blur_px) for one in small])
    kernel = np.exp(-0.5 * (np.arange(-FLOW_MEMORY, FLOW_MEMORY + 1) / memory) ** 2)
    held = np.pad(flows, ((FLOW_MEMORY, FLOW_MEMORY), (0, 0), (0, 0), (0, 0)), mode="edge")
    flows = sum(weight * held[at : at + len(crops)] for at, weight in enumerate(kernel / kernel.sum()))
    side = softened_side(rng, 100, 300, strength)
    rendered = []
    for flow in flows:
        full = CROP_PX / FLOW_PX * cv2.resize(flow.astype(np.float32), (CROP_PX, CROP_PX))
        rendered.append(through_grid(moved_pixels(crops[anchor], full[..., 0], full[..., 1]), side))
    return np.stack(rendered)


def time_smoothed(crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Average over time along the optical flow, which removes noise between frames and keeps edges."""
    flow_between, weight = OpticalFlow(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST), strength * rng.uniform(0.5, 0.85)
    grey = [cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops]
    state, smooth = crops[0].astype(np.float32), [crops[0]]
    for now in range(1, len(crops)):
        flow = flow_between(grey[now], grey[now - 1])
        carried = moved_pixels(state, flow[..., 0], flow[..., 1], cv2.INTER_CUBIC)
        alike = weight * np.exp(-(((carried - crops[now]).mean(axis=-1, keepdims=True) / 12) ** 2))
        state = crops[now] * (1 - alike) + carried * alike
        smooth.append(as_bytes(state - 0.5))
    return np.stack(smooth)


def splice_order(length: int, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the order of frames after splicing in a part from another time.

    Args:
        length: T, at least 4.
        rng: source of all random choices.

    Returns:
        (T,) frame indices; the first frame of the part, a fifth to a half of T long, and the frame after its last.
    """
    share = rng.uniform(*SPLICE_SHARE)
    part = int(np.clip(length * share, LEAST_SPLICE, length // 2))
    start = int(rng.integers(0, length - part + 1))
    elsewhere = [source for source in range(length - part + 1) if abs(source - start) >= min(part, length // 4)]
    source = int(rng.choice(elsewhere)) if elsewhere else (start + 1) % (length - part + 1)
    order = np.arange(length)
    order[start : start + part] = np.arange(source, source + part)
    return order, (start, start + part)
