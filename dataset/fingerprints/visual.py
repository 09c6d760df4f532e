"""The visual fingerprint: a 256-bit DCT hash of the whole grey frame, every half second.

The hash is the perceptual image hash described by C. Zauner ("Implementation and Benchmarking of Perceptual
Image Hash Functions", 2010): the frame is downscaled, the low frequencies of its DCT are compared with their median, and the
Hamming distance between two hashes measures the difference between two images. Zauner uses 64 bits, which do not
distinguish talking heads, because these are similar at the lowest frequencies. 256 bits also capture the background.
The whole frame is scaled to a square, so the hash is independent of scaling.
"""

from __future__ import annotations

import cv2
import numpy as np

INTERVAL_S = 0.5
"""Time between hashed frames. A trim shifts them by at most half of it; a talking head changes little in that time."""

MAX_FRAMES = 128
"""Maximum number of hashes per clip. Clips longer than a minute keep every n-th hash."""

HASH_BITS = 256
HASH_WORDS = HASH_BITS // 64
SIDE_PX = 64

FLAT_LEVELS = 3.0
"""Frames with a smaller standard deviation of grey levels are blank. They get no hash, as all blank frames are similar."""


def low_frequencies() -> np.ndarray:
    """Return flat indices of the 256 lowest frequencies, without DC, in a (SIDE_PX, SIDE_PX) DCT by diagonals."""
    cells = sorted(np.ndindex(SIDE_PX, SIDE_PX), key=lambda cell: (sum(cell), cell))
    return np.array([row * SIDE_PX + column for row, column in cells[1 : HASH_BITS + 1]])


LOW_FREQUENCIES = low_frequencies()


def frame_hash(frame: np.ndarray) -> np.ndarray | None:
    """Return the hash of a frame.

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
    """Streaming collector of the frame hashes of a clip."""

    def __init__(self) -> None:
        """Start without any frames."""
        self._hashes: list[np.ndarray] = []
        self._index = 0
        self._next_s = 0.0

    def add(self, frame: np.ndarray, fps: float) -> None:
        """Add the next (H, W, 3) uint8 frame. A rate of 0 (unknown) is treated as 25 fps."""
        time_s = self._index / (fps if fps > 0 else 25.0)
        self._index += 1
        if time_s < self._next_s - 1e-6:
            return
        self._next_s += INTERVAL_S
        found = frame_hash(frame)
        if found is not None:
            self._hashes.append(found)

    def array(self) -> np.ndarray:
        """Return the hashes in temporal order, (F, 4) uint64 with F <= MAX_FRAMES."""
        if not self._hashes:
            return np.zeros((0, HASH_WORDS), np.uint64)
        step = -(-len(self._hashes) // MAX_FRAMES)
        return np.stack(self._hashes[::step])
