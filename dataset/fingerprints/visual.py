"""The visual fingerprint: a 256-bit DCT hash of the whole grey frame, every half second.

The hash is the perceptual image hash that C. Zauner describes and measures ("Implementation and Benchmarking of Perceptual
Image Hash Functions", 2010): the frame is shrunk, its DCT's low frequencies are compared with their median, and the Hamming
distance between two hashes says how alike two pictures are. His 64 bits are too few for talking heads, which are all alike at
the lowest frequencies; 256 bits keep the background apart. The whole frame is shrunk to a square, so that scaling does not
matter.
"""

from __future__ import annotations

import cv2
import numpy as np

INTERVAL_S = 0.5
"""Time between two hashed frames. A talking head changes little in half of it, the most that a trim can misplace."""

MAX_FRAMES = 128
"""Hashes kept of a clip, evenly spread: those of the first minute, or every n-th of a longer clip."""

HASH_BITS = 256
HASH_WORDS = HASH_BITS // 64
SIDE_PX = 64

FLAT_LEVELS = 3.0
"""A frame whose grey levels vary less (standard deviation) is blank: it gets no hash, since all blank frames are alike."""


def low_frequencies() -> np.ndarray:
    """Flat indices, into a (SIDE_PX, SIDE_PX) DCT, of the 256 lowest frequencies without the mean, in zigzag order."""
    cells = sorted(np.ndindex(SIDE_PX, SIDE_PX), key=lambda cell: (sum(cell), cell))
    return np.array([row * SIDE_PX + column for row, column in cells[1 : HASH_BITS + 1]])


LOW_FREQUENCIES = low_frequencies()


def frame_hash(frame: np.ndarray) -> np.ndarray | None:
    """Hash a frame.

    Args:
        frame: (H, W, 3) uint8 RGB or (H, W) uint8 grey.

    Returns:
        (4,) uint64, 256 bits of which half are set; `None` for a blank frame.
    """
    small = cv2.resize(frame, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    grey = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    if float(grey.std()) < FLAT_LEVELS:
        return None
    coefficients = cv2.dct(grey.astype(np.float32)).ravel()[LOW_FREQUENCIES]
    return np.packbits(coefficients > np.median(coefficients), bitorder="little").view(np.uint64)


class FrameHashes:
    """Collects the hashes of a clip whose frames come one by one."""

    def __init__(self) -> None:
        """Start before the first frame."""
        self._hashes: list[np.ndarray] = []
        self._index = 0
        self._next_s = 0.0

    def add(self, frame: np.ndarray, fps: float) -> None:
        """Take the next (H, W, 3) uint8 frame of a clip with this rate (25 is assumed where it is unknown)."""
        time_s = self._index / (fps if fps > 0 else 25.0)
        self._index += 1
        if time_s < self._next_s - 1e-6:
            return
        self._next_s += INTERVAL_S
        found = frame_hash(frame)
        if found is not None:
            self._hashes.append(found)

    def array(self) -> np.ndarray:
        """Return the hashes in order of time, (F, 4) uint64 with F <= MAX_FRAMES."""
        if not self._hashes:
            return np.zeros((0, HASH_WORDS), np.uint64)
        step = -(-len(self._hashes) // MAX_FRAMES)
        return np.stack(self._hashes[::step])
