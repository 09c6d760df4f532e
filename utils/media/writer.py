"""Writer of clips: encodes RGB frames and a waveform with any codec and container that libav supports."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.stream import VideoStream

from utils.media.streams import file_url

AUDIO_CHUNK_SAMPLES = 4096
CHANNEL_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
# MPEG-4 part 2 stores the time base in 16 bits and does not support a finer one.
VARIABLE_RATE_TIME_BASE = Fraction(1, 30_000)


@dataclass(frozen=True)
class Encoding:
    """Settings of the encoders and of the container.

    Attributes:
        video_codec: libav encoder, e.g. `libx264`, `libvpx-vp9`, `mpeg4`, `mpeg1video`.
        audio_codec: libav encoder, e.g. `aac`, `libmp3lame`, `libopus`, `mp2`, `pcm_s16le`.
        pix_fmt: pixel format of the video stream, e.g. `yuv420p10le` for ten bits. Formats with 4:2:0 chroma need an even
            frame size; `yuv444p` also supports odd sizes.
        video_bit_rate: average bit rate in bit/s; `None` uses the rate control of the codec and its options.
        audio_bit_rate: average bit rate in bit/s; `None` uses the default of the codec.
        video_options: private options of the video encoder, e.g. `{"preset": "veryfast", "profile": "high"}`.
        audio_options: private options of the audio encoder.
        frame_times_s: increasing presentation times for a variable frame rate, at least one per frame.
        rotation_deg: counter-clockwise rotation that a player applies, written as the display matrix of the container.
        threads: threads per encoder. With one thread, the output is deterministic on a given machine; libx264 with a bit
            rate also needs `video_options={"mbtree": "0"}`.
    """

    video_codec: str = "libx264"
    audio_codec: str = "aac"
    pix_fmt: str = "yuv420p"
    video_bit_rate: int | None = None
    audio_bit_rate: int | None = None
    video_options: Mapping[str, str] | None = None
    audio_options: Mapping[str, str] | None = None
    frame_times_s: Sequence[float] | None = None
    rotation_deg: float = 0
    threads: int = 1


def write_clip(
    path: str | Path,
    frames: Iterable[np.ndarray] | None,
    fps: float | Fraction = 25,
    waveform: np.ndarray | None = None,
    sample_rate_hz: int = 44_100,
    **settings: Any,
) -> None:
    """Encode and multiplex one clip.

    Frames are read one at a time and not collected in memory. Audio packets are interleaved with them. The file is written
    in place; for an atomic write, pass a temporary path with the same suffix.

    Args:
        path: output file; its suffix selects the container (`.mp4`, `.webm`, `.mpg`, `.avi`, `.mkv`, ...).
        frames: (H, W, 3) uint8 RGB frames of equal size; `None` for a file without video.
        fps: frame rate in Hz. MPEG-1 and MPEG-2 allow only the standard rates.
        waveform: (S,) or (S, channels) float in [-1, 1] with 1, 2 or 6 channels (5.1); `None` for no audio.
        sample_rate_hz: sample rate of the waveform and of the audio stream; the codec must support it (Opus: 48000).
        **settings: attributes of `Encoding` that differ from their defaults.

    Raises:
        ValueError: there is nothing to write, or a frame or the waveform has the wrong shape or type.
        TypeError: a setting is not an attribute of `Encoding`.
        av.error.FFmpegError: libav does not support the codec, the container, or their combination.
    """
    encoding = Encoding(**settings)
    frame_iterator = iter(frames) if frames is not None else iter(())
    first = next(frame_iterator, None)
    if first is None and waveform is None:
        raise ValueError("write_clip needs at least one frame or a waveform")
    with av.open(file_url(path), "w") as container:
        video: VideoStream | None = None
        if first is not None:
            _check_frame(first, first.shape)
            video = cast(
                VideoStream, container.add_stream(encoding.video_codec, rate=Fraction(fps).limit_denominator(1001))
            )
            frame_iterator = itertools.chain([first], frame_iterator)
            video.height, video.width = first.shape[:2]
            video.pix_fmt = encoding.pix_fmt
            if encoding.frame_times_s is not None:
                video.codec_context.time_base = VARIABLE_RATE_TIME_BASE
            if encoding.rotation_deg:
                _set_rotation(video, encoding.rotation_deg)
            _configure(video, encoding.video_bit_rate, encoding.video_options, encoding.threads)
        audio = None
        if waveform is not None:
            audio = _AudioTrack(container, encoding.audio_codec, waveform, sample_rate_hz)
            _configure(audio.stream, encoding.audio_bit_rate, encoding.audio_options, encoding.threads)
        if video is not None:
            for time_s, frame in _timed_frames(frame_iterator, Fraction(fps), encoding.frame_times_s):
                if audio is not None:
                    audio.write_until(time_s)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None:
            audio.finish()


class _AudioTrack:
    """Audio stream that encodes a waveform in chunks."""

    def __init__(self, container, codec: str, waveform: np.ndarray, sample_rate_hz: int) -> None:
        samples = np.asarray(waveform, dtype=np.float32)
        samples = samples[:, None] if samples.ndim == 1 else samples
        if samples.ndim != 2 or samples.shape[1] not in CHANNEL_LAYOUTS:
            raise ValueError(f"a waveform must be (S,) or (S, channels) with 1, 2 or 6 channels, not {samples.shape}")
        self._container = container
        self._samples = samples
        self._rate_hz = sample_rate_hz
        self._layout = CHANNEL_LAYOUTS[samples.shape[1]]
        self._position = 0
        self.stream = container.add_stream(codec, rate=sample_rate_hz, layout=self._layout)

    def write_until(self, time_s: float) -> None:
        """Encode whole chunks up to a time in seconds."""
        while self._position < min(len(self._samples), time_s * self._rate_hz):
            chunk = self._samples[self._position : self._position + AUDIO_CHUNK_SAMPLES]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(chunk.T), format="fltp", layout=self._layout)
            frame.sample_rate = self._rate_hz
            frame.time_base = Fraction(1, self._rate_hz)
            frame.pts = self._position
            self._position += len(chunk)
            self._container.mux(self.stream.encode(frame))

    def finish(self) -> None:
        """Encode the remaining samples and flush the encoder."""
        self.write_until(float("inf"))
        self._container.mux(self.stream.encode(None))


def _timed_frames(
    frames: Iterator[np.ndarray], fps: Fraction, frame_times_s: Sequence[float] | None
) -> Iterator[tuple[float, av.VideoFrame]]:
    shape = None
    for index, array in enumerate(frames):
        shape = shape or array.shape
        _check_frame(array, shape)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
        if frame_times_s is None:
            time_s = float(index / fps)
            frame.pts, frame.time_base = index, 1 / fps.limit_denominator(1001)
        else:
            time_s = frame_times_s[index]
            frame.pts, frame.time_base = round(time_s / VARIABLE_RATE_TIME_BASE), VARIABLE_RATE_TIME_BASE
        yield time_s, frame


def _check_frame(frame: np.ndarray, shape: tuple[int, ...]) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.shape != shape:
        raise ValueError(f"frames must be (H, W, 3) uint8 of equal size, not {frame.shape} {frame.dtype} after {shape}")


def _configure(stream, bit_rate: int | None, options: Mapping[str, str] | None, threads: int) -> None:
    if bit_rate is not None:
        stream.bit_rate = bit_rate
    stream.codec_context.options = dict(options or {})
    stream.codec_context.thread_count = threads


def _set_rotation(stream, rotation_deg: float) -> None:
    if not hasattr(stream, "set_display_rotation"):
        raise ValueError(f"PyAV {av.__version__} cannot write a display matrix; a rotated clip needs PyAV 18 or newer")
    stream.set_display_rotation(rotation_deg)
