"""One pass over a clip: every frame as RGB and every audio sample as mono, each decoded once, nothing kept."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from utils.media.errors import MediaError

av.logging.set_level(av.logging.PANIC)

TRUNCATION_TOLERANCE_S = 0.25
"""How much earlier than the container declares the last frame may end before the clip counts as truncated."""

MAX_DECODE_ERRORS = 200
"""After this many undecodable packets in a row the rest of the file is given up as damaged."""


@dataclass
class AudioBlock:
    """A run of decoded audio.

    Attributes:
        samples: (S,) float32 in about [-1, 1], the mean of the channels.
        rate_hz: the sample rate of the stream.
    """

    samples: np.ndarray
    rate_hz: int


@dataclass
class StreamFacts:
    """What one pass over a clip has found; complete when the pass has ended.

    Attributes:
        n_frames: frames decoded.
        n_samples: audio samples decoded, per channel.
        fps: the video stream's average frame rate; 0 without video.
        rate_hz: the audio stream's sample rate; 0 without audio.
        problems: reason codes met on the way (`truncated`, `too_long`).
    """

    n_frames: int = 0
    n_samples: int = 0
    fps: float = 0.0
    rate_hz: int = 0
    problems: set[str] = field(default_factory=set)

    @property
    def video_s(self) -> float:
        """Duration of the decoded frames in seconds."""
        return self.n_frames / self.fps if self.fps > 0 else 0.0

    @property
    def audio_s(self) -> float:
        """Duration of the decoded samples in seconds."""
        return self.n_samples / self.rate_hz if self.rate_hz > 0 else 0.0

    @property
    def duration_s(self) -> float:
        """Duration of the longer of the two streams in seconds."""
        return max(self.video_s, self.audio_s)


def open_clip(path: Path) -> av.container.InputContainer:
    """Open a clip for reading.

    Raises:
        MediaError: `missing_file` or `unreadable`.
    """
    if not Path(path).is_file():
        raise MediaError("missing_file", f"no such file: {path}")
    try:
        return av.open(str(path), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError("unreadable", f"cannot be opened as audio or video: {path} ({error})") from error


def video_stream(container: av.container.InputContainer) -> av.video.stream.VideoStream | None:
    """The clip's main video stream; cover pictures of audio files do not count."""
    moving = [
        stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    best = container.streams.best("video")
    return best if best in moving else next(iter(moving), None)


def rgb_view(frame: av.VideoFrame) -> np.ndarray:
    """An RGB24 frame's pixels without a copy: (H, W, 3) uint8, R G B, rows possibly padded in memory."""
    plane = frame.planes[0]
    return np.ndarray((frame.height, frame.width, 3), np.uint8, buffer=plane, strides=(plane.line_size, 3, 1))


def mono_samples(frame: av.AudioFrame) -> np.ndarray:
    """The mean of an audio frame's channels: (S,) float32 in about [-1, 1]."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128.0) / 128.0
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / np.float32(-float(np.iinfo(samples.dtype).min))
    return samples.mean(axis=0, dtype=np.float32)


class ClipStream:
    """Iterates once over a clip, yielding (H, W, 3) uint8 RGB frames and `AudioBlock`s in the file's own order.

    A frame is a view of the decoder's memory: use it before asking for the next item. Pixels are libswscale's RGB24 in coded
    orientation (a rotation flag does not turn them). Both decoders run in the calling thread, since many clips are decoded
    in parallel by processes. `facts` fills as the pass goes on.
    """

    def __init__(self, path: Path, *, video: bool = True, audio: bool = True, max_frames: int | None = None) -> None:
        """Choose what to decode; `max_frames` ends the pass early with the problem `too_long`."""
        self.path = Path(path)
        self.max_frames = max_frames
        self.facts = StreamFacts()
        self._wanted = (video, audio)
        self._undecodable = 0
        self._last_frame_end_s = 0.0

    def __iter__(self) -> Iterator[np.ndarray | AudioBlock]:
        """Decode the clip.

        Raises:
            MediaError: `missing_file` or `unreadable`.
        """
        with open_clip(self.path) as container:
            pictures = video_stream(container) if self._wanted[0] else None
            sound = container.streams.best("audio") if self._wanted[1] else None
            streams = [stream for stream in (pictures, sound) if stream is not None]
            if not streams:
                return
            for stream in streams:
                stream.thread_type = "NONE"
                stream.codec_context.thread_count = 1
            if pictures is not None:
                self.facts.fps = float(pictures.average_rate or pictures.guessed_rate or 0)
            yield from self._decode(container, streams, VideoReformatter())
            self._note_truncation(container, pictures)

    def _decode(
        self, container: av.container.InputContainer, streams: list, reformatter: VideoReformatter
    ) -> Iterator[np.ndarray | AudioBlock]:
        for packet in self._packets(container, streams):
            for frame in self._frames(packet):
                if isinstance(frame, av.AudioFrame):
                    if self.facts.rate_hz not in (0, frame.sample_rate):
                        # A rate that changes midway would shift every frequency after it: what came before is kept.
                        self.facts.problems.add("truncated")
                        continue
                    self.facts.rate_hz = frame.sample_rate
                    self.facts.n_samples += frame.samples
                    yield AudioBlock(mono_samples(frame), frame.sample_rate)
                else:
                    if self.max_frames is not None and self.facts.n_frames >= self.max_frames:
                        self.facts.problems.add("too_long")
                        return
                    self.facts.n_frames += 1
                    if frame.time is not None:
                        self._last_frame_end_s = float(frame.time) + (1.0 / self.facts.fps if self.facts.fps else 0.0)
                    # One reformatter for all frames: a new one per frame rebuilds the colour scaler, at twice the cost.
                    yield rgb_view(reformatter.reformat(frame, format="rgb24"))

    def _packets(self, container: av.container.InputContainer, streams: list) -> Iterator[av.Packet]:
        packets = container.demux(streams)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError) as error:
                if getattr(error, "errno", None) == errno.EAGAIN:
                    continue
                self.facts.problems.add("truncated")
                return

    def _frames(self, packet: av.Packet) -> list:
        if self._undecodable >= MAX_DECODE_ERRORS:
            return []
        try:
            frames = packet.decode()
            self._undecodable = 0
            return frames
        except (av.error.FFmpegError, ValueError) as error:
            if not isinstance(error, av.error.EOFError):
                self._undecodable += 1
                self.facts.problems.add("truncated")
            return []

    def _note_truncation(
        self, container: av.container.InputContainer, pictures: av.video.stream.VideoStream | None
    ) -> None:
        """Players cut a file silently; a video that ends clearly before its declared end is said to be truncated."""
        if pictures is None or "too_long" in self.facts.problems or not self.facts.n_frames:
            return
        if pictures.duration is None or pictures.time_base is None:
            return
        declared_end_s = float((pictures.start_time or 0) * pictures.time_base + pictures.duration * pictures.time_base)
        tolerance_s = max(TRUNCATION_TOLERANCE_S, 0.05 * declared_end_s)
        if self._last_frame_end_s < declared_end_s - tolerance_s:
            self.facts.problems.add("truncated")
