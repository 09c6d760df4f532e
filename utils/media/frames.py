"""libav's decoded frames as numpy arrays: pixels without a copy, samples as mono."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import av
import numpy as np

SAMPLE_TYPES: dict[str, type[np.integer] | type[np.floating]] = {
    "u8": np.uint8,
    "s16": np.int16,
    "s32": np.int32,
    "flt": np.float32,
    "dbl": np.float64,
}
"""libav's sample formats (a final `p` says planar) and their numpy types."""


def rgb_view(frame: av.VideoFrame) -> np.ndarray:
    """An RGB24 frame's pixels without a copy: (H, W, 3) uint8, R G B, rows possibly padded in memory."""
    plane: Any = frame.planes[0]  # PyAV's stubs hide that planes are buffers
    return np.ndarray((frame.height, frame.width, 3), np.uint8, buffer=plane, strides=(plane.line_size, 3, 1))


def mono_samples(frame: av.AudioFrame) -> np.ndarray:
    """The mean of an audio frame's channels: (S,) float32 in about [-1, 1].

    Raises:
        ValueError: a sample format without a numpy type.
    """
    kind = SAMPLE_TYPES.get(frame.format.name.removesuffix("p"))
    if kind is None:
        raise ValueError(f"sample format {frame.format.name}")
    planes: Sequence[Any] = frame.planes  # PyAV's stubs hide that planes are buffers
    n_channels = len(frame.layout.channels)
    # Reading the planes directly costs a third of `to_ndarray`, and there are forty audio frames to a second.
    if frame.format.is_planar:
        channels = [np.frombuffer(plane, kind, count=frame.samples) for plane in planes]
    else:
        packed = np.frombuffer(planes[0], kind, count=frame.samples * n_channels)
        channels = list(packed.reshape(-1, n_channels).T)
    with np.errstate(invalid="ignore", over="ignore"):
        mixed = channels[0].astype(np.float32)
        for channel in channels[1:]:
            mixed += channel
        mixed /= np.float32(len(channels))
        if kind is np.uint8:
            return (mixed - np.float32(128.0)) / np.float32(128.0)
        return mixed if issubclass(kind, np.floating) else mixed / np.float32(-float(np.iinfo(kind).min))
