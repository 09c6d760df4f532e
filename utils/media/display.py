"""Display geometry: the rotation, mirroring and scaling that a player applies to the coded frames of a clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideDataType

SQUARE_TOLERANCE = 0.01
"""Tolerance of the pixel aspect ratio for square pixels. Encoders write such ratios after rounding a size to even."""

MAX_PIXEL_ASPECT = 4.0
"""Pixel aspect ratios above this, or below its inverse, come from damaged headers and are ignored."""

MAX_SHEAR = 0.1
"""Largest cosine of the angle between the two axes of a display matrix. Sheared matrices come from damaged headers."""

QUARTER_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


@dataclass(frozen=True)
class DisplayGeometry:
    """Transformation from coded to displayed frames, applied in the order of the attributes.

    Attributes:
        pixel_aspect: width of a coded pixel divided by its height.
        mirrored: whether columns are reversed.
        rotation_deg: counter-clockwise rotation: 0, 90, 180 or 270.
    """

    pixel_aspect: float = 1.0
    mirrored: bool = False
    rotation_deg: int = 0

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """Return a coded frame, (H, W, 3) uint8, as a player shows it. If nothing changes, return the input itself.

        For square pixels, the frame is enlarged in one direction, which preserves detail.
        """
        if abs(self.pixel_aspect - 1.0) > SQUARE_TOLERANCE:
            height, width = frame.shape[:2]
            size = (round(width * max(self.pixel_aspect, 1.0)), round(height * max(1.0 / self.pixel_aspect, 1.0)))
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
        if self.mirrored:
            frame = cv2.flip(frame, 1)
        turn = QUARTER_TURNS.get(self.rotation_deg)
        return frame if turn is None else cv2.rotate(frame, turn)


def display_geometry(stream: av.video.stream.VideoStream, frame: av.VideoFrame) -> DisplayGeometry:
    """Read the display geometry of a stream from its header and its first decoded frame."""
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    pixel_aspect = float(aspect) if aspect else 1.0
    if not 1 / MAX_PIXEL_ASPECT <= pixel_aspect <= MAX_PIXEL_ASPECT:
        pixel_aspect = 1.0
    side_data: Any = frame.side_data  # PyAV's stubs do not declare look-up by type
    matrix = side_data.get(SideDataType.DISPLAYMATRIX)
    if matrix is None:
        return DisplayGeometry(pixel_aspect)
    mirrored, rotation_deg = orientation(np.frombuffer(matrix, "=i4", count=9))
    return DisplayGeometry(pixel_aspect, mirrored, rotation_deg)


def orientation(matrix: np.ndarray) -> tuple[bool, int]:
    """Return the mirroring and the rotation of a display matrix.

    Args:
        matrix: (9,) int32 as libav stores it: (x, y) of a coded pixel maps to (a x + c y, b x + d y), where a, b, c, d are
            elements 0, 1, 3, 4.

    Returns:
        Whether columns are mirrored, which is applied first, and the counter-clockwise rotation in degrees, rounded to 0,
        90, 180 or 270. A matrix that is not a rotation, which comes from a damaged header, is ignored.
    """
    a, b, c, d = (float(matrix[index]) for index in (0, 1, 3, 4))
    size = math.hypot(a, b) * math.hypot(c, d)
    if not size or abs(a * c + b * d) > MAX_SHEAR * size:
        return False, 0
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return mirrored, round(-math.degrees(math.atan2(b, a)) / 90) % 4 * 90
