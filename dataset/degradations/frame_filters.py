"""Filters of RGB frames. Each takes a frame, a level and a generator and returns a new frame.

Frames are (H, W, 3) uint8 RGB; the size stays unless the function says otherwise. Lengths are shares of the frame's shorter
side, so that a level means the same for a thumbnail and for a cinema film. Only `noise` and `block_drop` use the
generator.
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
    """Shrink by `factor` (mean of areas) and enlarge again (bicubic)."""
    height, width = frame.shape[:2]
    small = (max(round(width / factor), 1), max(round(height / factor), 1))
    shrunk = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_CUBIC)


def blur(frame: np.ndarray, share: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Gaussian blur whose standard deviation is `share` of the shorter side."""
    return cv2.GaussianBlur(frame, (0, 0), share * min(frame.shape[:2]))


def noise(frame: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """White Gaussian noise of `deviation` grey levels, independent in each channel and frame; clipped to 0..255."""
    return cv2.add(frame, np.float32(deviation) * rng.standard_normal(frame.shape, dtype=np.float32), dtype=cv2.CV_8U)


def brightness(frame: np.ndarray, offset: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Add `offset` grey levels; clipped to 0..255."""
    return _through_table(frame, np.arange(256) + offset)


def contrast(frame: np.ndarray, factor: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Scale the distance from mid-grey by `factor`; clipped to 0..255."""
    return _through_table(frame, MID_GREY + factor * (np.arange(256) - MID_GREY))


def saturation(frame: np.ndarray, factor: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Scale the distance from the pixel's grey (Rec. 601 luma) by `factor`; 0 leaves a grey picture."""
    towards_grey = np.float32(1 - factor) * REC_601_LUMA[None, :] + np.float32(factor) * np.eye(3, dtype=np.float32)
    return cv2.transform(frame, towards_grey)


def block_drop(frame: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Turn a `share` of square blocks mid-grey, elsewhere in each frame: lost blocks without concealment."""
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
    """Keep the middle of the frame, `keep` of each side rounded down to an even number: a smaller frame."""
    height, width = (_even(keep * side, side) for side in frame.shape[:2])
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    return frame[top : top + height, left : left + width]


def change_frame_rate(frames: Iterable[np.ndarray], factor: float) -> Iterator[np.ndarray]:
    """Resample a stream of frames to `factor` times its rate: each new frame is the one on show at its time.

    T frames become ceil(T * factor); the duration stays. No frame is held back: for a factor below 1 frames are left out,
    above 1 they are repeated.
    """
    n_out = 0
    for index, frame in enumerate(frames):
        # The new frame n is due at n / factor in units of old frames, while frame `index` is on show until index + 1.
        while n_out < (index + 1) * factor - 1e-9:
            yield frame
            n_out += 1


def _through_table(frame: np.ndarray, values: np.ndarray) -> np.ndarray:
    return cv2.LUT(frame, np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _even(wanted: float, side: int) -> int:
    """Return the largest even number up to `wanted`, limited by the encoders' minimum and by the side."""
    return min(max(int(wanted) // 2 * 2, SMALLEST_SIDE_PX), side)
