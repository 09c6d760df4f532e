"""Filters for RGB frames. Each takes a frame, a level and a random generator and returns a new frame.

Frames are (H, W, 3) uint8 RGB and keep their size unless stated otherwise. Lengths are fractions of the shorter side, so a
level has the same effect at every resolution. Only `noise` and `block_drop` use the generator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

MID_GREY = 128
BLOCKS_PER_SIDE = 24
SMALLEST_SIDE_PX = 16
REC_601_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def down_up(frame: np.ndarray, factor: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Downscale by `factor` (area average) and upscale to the original size (bicubic)."""
    height, width = frame.shape[:2]
    small = (max(round(width / factor), 1), max(round(height / factor), 1))
    shrunk = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_CUBIC)


def blur(frame: np.ndarray, share: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Apply a Gaussian blur with a standard deviation of `share` times the shorter side."""
    return cv2.GaussianBlur(frame, (0, 0), share * min(frame.shape[:2]))


def noise(frame: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise of `deviation` grey levels, independent per channel and frame; clip to 0..255."""
    return cv2.add(frame, np.float32(deviation) * rng.standard_normal(frame.shape, dtype=np.float32), dtype=cv2.CV_8U)


def brightness(frame: np.ndarray, offset: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Add `offset` grey levels; clip to 0..255."""
    return _through_table(frame, np.arange(256) + offset)


def contrast(frame: np.ndarray, factor: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Scale the distance from mid-grey by `factor`; clip to 0..255."""
    return _through_table(frame, MID_GREY + factor * (np.arange(256) - MID_GREY))


def saturation(frame: np.ndarray, factor: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Scale the distance from the pixel's luma (Rec. 601) by `factor`; 0 gives a grey image."""
    towards_grey = np.float32(1 - factor) * REC_601_LUMA[None, :] + np.float32(factor) * np.eye(3, dtype=np.float32)
    return cv2.transform(frame, towards_grey)


def block_drop(frame: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Set a random `share` of square blocks to mid-grey, as lost blocks without concealment. Blocks differ per frame."""
    height, width = frame.shape[:2]
    side = max(min(height, width) // BLOCKS_PER_SIDE, 1)
    rows, columns = -(-height // side), -(-width // side)
    lost = np.zeros(rows * columns, bool)
    lost[rng.permutation(lost.size)[: round(share * lost.size)]] = True
    mask = lost.reshape(rows, columns).repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
    changed = frame.copy()
    changed[mask] = MID_GREY
    return changed


def crop(frame: np.ndarray, keep: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Crop to the centre: keep the fraction `keep` of each side, rounded down to an even number of pixels."""
    height, width = (_even(keep * side, side) for side in frame.shape[:2])
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    return frame[top : top + height, left : left + width]


def change_frame_rate(frames: Iterable[np.ndarray], factor: float) -> Iterator[np.ndarray]:
    """Resample a stream of frames to `factor` times its rate by dropping or repeating frames.

    T frames become ceil(T * factor); the duration stays the same. Each output frame is the input frame displayed at that time.
    """
    n_out = 0
    for index, frame in enumerate(frames):
        # In units of input frames, output frame n is due at n / factor, and frame `index` is displayed until index + 1.
        while n_out < (index + 1) * factor - 1e-9:
            yield frame
            n_out += 1


def _through_table(frame: np.ndarray, values: np.ndarray) -> np.ndarray:
    return cv2.LUT(frame, np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _even(wanted: float, side: int) -> int:
    """Return the largest even number up to `wanted`, at least the minimum that encoders accept and at most `side`."""
    return min(max(int(wanted) // 2 * 2, SMALLEST_SIDE_PX), side)
