"""Detection of faces and five landmarks: RetinaFace (Deng et al., 2020) with a small MobileNet, run by onnxruntime.

The network has three grids of anchors. The finest one takes two fifths of the time and finds small faces only. It has a file
of its own, and is left out where small faces are of no interest, as beside a large face that is tracked already.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from utils.errors import UsageError
from utils.features.face.crops import halve
from utils.onnx_session import single_threaded_session

CHECKPOINTS = Path(__file__).resolve().parents[3] / "checkpoint"
COARSE_WEIGHTS = CHECKPOINTS / "face_detector.onnx"
FINE_WEIGHTS = CHECKPOINTS / "small_face_detector.onnx"
SIDE_PX = 320
MIN_SCORE = 0.6
MAX_OVERLAP = 0.4

COARSE_FROM_PX = 48
"""Faces with this side in the canvas or a larger one are found by the two coarse grids: it lies above the mean of the largest
fine and the smallest coarse anchor (45 px)."""

# These values are fixed by the weights: three anchor grids with two squares per cell, from fine to coarse; the units of the
# offsets; and the last columns of scores (2 per square) and boxes (4 per square), which landmarks (10 per square) follow.
STRIDES_PX = (8, 16, 32)
ANCHORS_PX = ((16, 32), (64, 128), (256, 512))
CENTRE_UNIT, SIZE_UNIT = 0.1, 0.2
COLUMN_ENDS = (4, 12)
MEAN_BGR = (104.0, 117.0, 127.0)


@dataclass(frozen=True)
class Detections:
    """The faces of one frame, in descending order of score.

    Attributes:
        boxes: (N, 4) float32 px: left, top, right, bottom.
        scores: (N,) float32 in [0, 1].
        landmarks: (N, 5, 2) float32 px as x, y: left eye, right eye, tip of the nose, left and right corner of the mouth.
            Left and right refer to the image.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    def __len__(self) -> int:
        """Return N."""
        return len(self.boxes)


def require_weights() -> None:
    """Check that the detector's weights exist.

    Raises:
        UsageError: they are missing.
    """
    for path in (COARSE_WEIGHTS, FINE_WEIGHTS):
        if not path.is_file():
            raise UsageError(f"{path} is missing, and features.face=true needs it; it is part of the repository")


class FaceDetector:
    """Face detector. Frames are scaled to a longer side of `SIDE_PX`. Faces below a twentieth of it are not detected."""

    def __init__(self) -> None:
        """Load the weights.

        Raises:
            UsageError: they are missing.
        """
        require_weights()
        self._coarse, self._fine = single_threaded_session(COARSE_WEIGHTS), single_threaded_session(FINE_WEIGHTS)
        self._anchors = anchors()

    def __call__(self, frame: np.ndarray, *, least_side_px: float = 0.0) -> Detections:
        """Detect the faces in an upright frame.

        Args:
            frame: (H, W, 3) uint8 RGB of any size.
            least_side_px: side in pixels of the frame below which faces are of no interest; they may be missing.
        """
        smaller, taken = halve(frame, SIDE_PX / max(frame.shape[:2]))
        height, width = smaller.shape[:2]
        scale = SIDE_PX / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        canvas[: size[1], : size[0]] = cv2.resize(smaller, size, interpolation=how)
        scale *= taken
        found = self._decode(self._run(canvas, fine=least_side_px * scale < COARSE_FROM_PX))
        return Detections(found.boxes / np.float32(scale), found.scores, found.landmarks / np.float32(scale))

    def _run(self, canvas: np.ndarray, *, fine: bool) -> np.ndarray:
        """Return the outputs (cells, 32) float32 of the coarse anchor grids, after those of the fine one, for an RGB canvas."""
        image = cv2.dnn.blobFromImage(canvas, 1.0, (SIDE_PX, SIDE_PX), MEAN_BGR, swapRB=True)
        *grids, stage1, merged = self._coarse.run(None, {"image": image})
        if fine:
            grids = self._fine.run(None, {"stage1": stage1, "merged": merged}) + grids
        return np.concatenate([grid[0].reshape(grid.shape[1], -1).T for grid in grids])

    def _decode(self, outputs: np.ndarray) -> Detections:
        """Decode the outputs (cells, 32) of the last grids to the faces in px of the canvas."""
        anchor = self._anchors[-2 * len(outputs) :]
        logits, offsets, points = (part.reshape(len(anchor), -1) for part in np.split(outputs, COLUMN_ENDS, axis=1))
        scores = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
        likely = np.flatnonzero(scores > MIN_SCORE)
        scores, offsets, points, anchor = scores[likely], offsets[likely], points[likely], anchor[likely]
        centre, side = anchor[:, :2], anchor[:, 2:]
        middle = centre + side * offsets[:, :2] * CENTRE_UNIT
        size = side * np.exp(offsets[:, 2:] * SIZE_UNIT)
        boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
        marks = centre[:, None] + side[:, None] * points.reshape(-1, 5, 2) * CENTRE_UNIT
        kept = suppress_overlaps(boxes, scores)
        return Detections(boxes[kept], scores[kept], marks[kept])


@cache
def shared_detector() -> FaceDetector:
    """Return the detector of this process. It is shared, since loading takes longer than detection in one frame."""
    return FaceDetector()


def anchors() -> np.ndarray:
    """Return the anchors (A, 3) float32 px as centre x, centre y and side, row by row, both squares of a cell in sequence."""
    grids = []
    for stride, sides in zip(STRIDES_PX, ANCHORS_PX, strict=True):
        steps = (np.arange(-(-SIDE_PX // stride)) + 0.5) * stride
        y, x, side = np.meshgrid(steps, steps, sides, indexing="ij")
        grids.append(np.stack([x, y, side], axis=-1).reshape(-1, 3))
    return np.concatenate(grids).astype(np.float32)


def suppress_overlaps(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Apply non-maximum suppression to boxes (N, 4). Return the indices of the remaining boxes, highest score first."""
    kept: list[int] = []
    left = np.argsort(-scores, kind="stable")
    while len(left):
        best = left[0]
        kept.append(int(best))
        left = left[1:]
        left = left[overlaps(boxes[left], boxes[best]) < MAX_OVERLAP]
    return kept


def overlaps(boxes: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes (N, 4) with one box (4,) or N boxes (N, 4): (N,) float64, 0 to 1."""
    sides = np.minimum(boxes[:, 2:], other[..., 2:]) - np.maximum(boxes[:, :2], other[..., :2])
    shared = np.maximum(sides, 0.0).prod(axis=1, dtype=np.float64)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (other[..., 2:] - other[..., :2]).prod(axis=-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes (4,), 0 to 1."""
    return float(overlaps(one[None], other)[0])
