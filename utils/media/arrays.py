"""Clips in memory, as arrays of frames and samples. `ArrayStream` has the same interface as the decoder of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from utils.errors import UsageError
from utils.media.decode import HIGHEST_RATE_HZ, LOWEST_FPS, LOWEST_RATE_HZ, StreamFacts
from utils.media.frames import ChannelSamples
from utils.media.mono import AudioBlock, MonoMixer

MAX_CHANNELS = 64
"""An array with more columns is probably transposed, with shape (C, S)."""

MAX_AMPLITUDE = 2.0
"""Decoded float audio may slightly exceed 1. Larger values are not scaled."""

SAMPLES_PER_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class ClipArrays:
    """A decoded clip with frames, samples or both. A missing array means that the clip has no such stream.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB, upright.
        fps: frame rate in Hz; required with `frames`.
        samples: (S,) mono or (S, C) float, in [-1, 1].
        rate_hz: sample rate in Hz; required with `samples`.
        name: name of the clip in the results.

    Raises:
        UsageError: an array has the wrong shape, type or range, or its rate is missing.
    """

    frames: np.ndarray | None = None
    fps: float | None = None
    samples: np.ndarray | None = None
    rate_hz: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Check shapes, types and ranges."""
        if self.frames is None and self.samples is None:
            raise UsageError("a clip needs frames, samples or both")
        if self.frames is not None:
            check_frames(self.frames, self.fps)
        elif self.fps is not None:
            raise UsageError("fps is given without frames")
        if self.samples is not None:
            check_samples(self.samples, self.rate_hz)
        elif self.rate_hz is not None:
            raise UsageError("rate_hz is given without samples")


def check_frames(frames: np.ndarray, fps: float | None) -> None:
    """Check the frames of a clip and their rate.

    Raises:
        UsageError: see `ClipArrays`.
    """
    shape, dtype = getattr(frames, "shape", None), getattr(frames, "dtype", type(frames).__name__)
    if not isinstance(frames, np.ndarray) or frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise UsageError(f"frames must be a (T, H, W, 3) uint8 RGB array, got shape {shape} of {dtype}")
    if 0 in frames.shape:
        raise UsageError(f"frames are empty, got shape {shape}; leave them out for a clip without video")
    if fps is None or not np.isfinite(fps) or fps < LOWEST_FPS:
        raise UsageError(f"frames need fps, their rate in Hz, got {fps}")


def check_samples(samples: np.ndarray, rate_hz: int | None) -> None:
    """Check the samples of a clip and their rate.

    Raises:
        UsageError: see `ClipArrays`.
    """
    shape, dtype = getattr(samples, "shape", None), getattr(samples, "dtype", type(samples).__name__)
    if not isinstance(samples, np.ndarray) or samples.ndim not in (1, 2) or samples.dtype.kind != "f":
        raise UsageError(f"samples must be a (S,) or (S, C) float array in [-1, 1], got shape {shape} of {dtype}")
    if 0 in samples.shape:
        raise UsageError(f"samples are empty, got shape {shape}; leave them out for a clip without audio")
    if samples.ndim == 2 and samples.shape[1] > MAX_CHANNELS:
        raise UsageError(f"samples have {samples.shape[1]} channels; transpose an array of shape (C, S)")
    if rate_hz is None or rate_hz != round(rate_hz) or not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise UsageError(f"samples need rate_hz, an integer from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}, got {rate_hz}")
    if not np.isfinite(samples).all():
        raise UsageError("samples must be finite, got NaN or infinity")
    peak = float(np.abs(samples).max())
    if peak > MAX_AMPLITUDE:
        raise UsageError(f"samples reach {peak:g}; scale them to [-1, 1], for example 16-bit values by 1 / 32768")


class ArrayStream:
    """Single-use iterator over a `ClipArrays`, with the interface of `utils.media.decode.ClipStream`.

    Attributes:
        is_needed: not called, since all frames are in memory.
    """

    is_needed: Callable[[float | None], bool] | None = None

    def __init__(self, clip: ClipArrays, *, max_frames: int | None = None) -> None:
        """Create the iterator. It stops after `max_frames` frames and then reports the problem `too_long`."""
        self._clip = clip
        self.max_frames = max_frames
        self.facts = StreamFacts()

    def __iter__(self) -> Iterator[np.ndarray | AudioBlock]:
        """Yield the frames, (H, W, 3) uint8 RGB, then the samples as `AudioBlock`s."""
        yield from self._frames()
        yield from self._blocks()

    def _frames(self) -> Iterator[np.ndarray]:
        frames, fps = self._clip.frames, self._clip.fps
        if frames is None or fps is None:
            return
        self.facts.fps = float(fps)
        self.facts.declared_frames = len(frames)
        if self._clip.samples is not None and self._clip.rate_hz is not None:
            self.facts.declared_s = len(self._clip.samples) / self._clip.rate_hz
        for number, frame in enumerate(frames[: self.max_frames]):
            self.facts.n_frames += 1
            self.facts.frame_s = number / self.facts.fps
            yield np.ascontiguousarray(frame)
        if self.facts.n_frames < len(frames):
            self.facts.problems.add("too_long")

    def _blocks(self) -> Iterator[AudioBlock]:
        samples, rate_hz = self._clip.samples, self._clip.rate_hz
        if samples is None or rate_hz is None:
            return
        self.facts.rate_hz = int(rate_hz)
        self.facts.audio_start_s = 0.0
        channels = samples.astype(np.float32).reshape(len(samples), -1).T
        names = tuple(str(number) for number in range(1, len(channels) + 1))
        mixer = MonoMixer()
        for start in range(0, len(samples), SAMPLES_PER_BLOCK):
            if "too_long" in self.facts.problems and self.facts.audio_s >= self.facts.video_s:
                break
            block = channels[:, start : start + SAMPLES_PER_BLOCK]
            self.facts.n_samples += block.shape[1]
            yield from mixer.add(ChannelSamples(list(block), names, self.facts.rate_hz))
        yield from mixer.finish()
        if mixer.cancelled:
            self.facts.notes.append(f"the channels cancel: mono is channel {mixer.cancelled}, not the mean")
