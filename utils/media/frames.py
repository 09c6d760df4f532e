"""Views of libav's decoded frames as numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
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
"""libav's sample formats, without the final `p` of planar ones, and their numpy types."""

MATROSKA_KEY_TAGS = ("enc_key_id", "ENC_KEY_ID")
"""Tags of a stream with the identifier of its key: as libav reads an encrypted Matroska track, and in copies that it wrote."""


@dataclass(frozen=True)
class ChannelSamples:
    """Samples of one decoded audio frame.

    Attributes:
        channels: one (S,) array per channel in the decoder's sample type; a view of the frame's memory.
        names: libav's channel names, e.g. FL, FR, FC.
        rate_hz: sample rate.
    """

    channels: Sequence[np.ndarray]
    names: tuple[str, ...]
    rate_hz: int

    def __len__(self) -> int:
        """Return the number of samples per channel."""
        return len(self.channels[0]) if self.channels else 0

    def mean(self) -> np.ndarray:
        """Return the mean of the channels: (S,) float32 in about [-1, 1]."""
        with np.errstate(invalid="ignore", over="ignore"):
            mixed = self.channels[0].astype(np.float32)
            for channel in self.channels[1:]:
                mixed += channel
            mixed /= np.float32(len(self.channels))
            return _full_scale(mixed, self.channels[0].dtype)

    def channel(self, number: int) -> np.ndarray:
        """Return one channel: (S,) float32 in about [-1, 1]."""
        with np.errstate(invalid="ignore", over="ignore"):
            return _full_scale(self.channels[number].astype(np.float32), self.channels[number].dtype)


def is_encrypted(packet: av.Packet) -> bool:
    """Return whether a packet is encrypted. Decoders accept a part of such packets and return noise."""
    kind: Any = "encryption_info"  # PyAV's stubs do not list it
    # Matroska encrypts whole tracks, and libav marks the track instead of its packets.
    return packet.has_sidedata(kind) or any(tag in packet.stream.metadata for tag in MATROSKA_KEY_TAGS)


def rgb_view(frame: av.VideoFrame) -> np.ndarray:
    """Return the pixels of an RGB24 frame without a copy: (H, W, 3) uint8 in R, G, B order; rows may be padded."""
    plane: Any = frame.planes[0]  # PyAV's stubs do not declare that planes are buffers
    return np.ndarray((frame.height, frame.width, 3), np.uint8, buffer=plane, strides=(plane.line_size, 3, 1))


def channel_names(layout: av.AudioLayout) -> tuple[str, ...]:
    """Return libav's channel names, e.g. FL and FR. Without a channel layout, return numbers starting at 1."""
    return _names_of_layout(layout.name) or tuple(str(number) for number in range(1, layout.nb_channels + 1))


@cache
def _names_of_layout(name: str) -> tuple[str, ...]:
    try:
        names = tuple(channel.name for channel in av.AudioLayout(name).channels)
    except ValueError:
        return ()
    return () if "NONE" in names else names


def channel_samples(frame: av.AudioFrame) -> ChannelSamples:
    """Return the samples of an audio frame without a copy.

    Raises:
        ValueError: the sample format has no numpy type.
    """
    kind = SAMPLE_TYPES.get(frame.format.name.removesuffix("p"))
    if kind is None:
        raise ValueError(f"sample format {frame.format.name}")
    planes: Sequence[Any] = frame.planes  # PyAV's stubs do not declare that planes are buffers
    names = channel_names(frame.layout)
    # Reading the planes directly takes a third of the time of `to_ndarray`. One second of audio has about 40 frames.
    if frame.format.is_planar:
        channels = [np.frombuffer(plane, kind, count=frame.samples) for plane in planes]
    else:
        packed = np.frombuffer(planes[0], kind, count=frame.samples * len(names))
        channels = list(packed.reshape(-1, len(names)).T)
    return ChannelSamples(channels, names, frame.sample_rate)


def _full_scale(samples: np.ndarray, kind: np.dtype) -> np.ndarray:
    if kind == np.uint8:
        return (samples - np.float32(128.0)) / np.float32(128.0)
    return samples if np.issubdtype(kind, np.floating) else samples / np.float32(-float(np.iinfo(kind).min))


def tick_of(frame: av.VideoFrame) -> float:
    """Return the unit of a frame's duration in seconds; 0 if not declared."""
    return 0.0 if frame.time_base is None else float(frame.time_base)
