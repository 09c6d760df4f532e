"""One pass over a clip: every frame as RGB and every audio sample as mono, each decoded once, nothing kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from utils.media.errors import MediaError
from utils.media.frames import mono_samples, rgb_view

av.logging.set_level(av.logging.PANIC)

TRUNCATION_TOLERANCE_S = 0.25
"""How much earlier than the container declares the last frame may end before the clip counts as truncated."""

MAX_DECODE_ERRORS = 200
"""After this many undecodable packets in a row the rest of the file is given up as damaged."""

LOWEST_FPS = 0.01
"""A lower frame rate is that of a still picture, or of a damaged header; the frames then say nothing of the duration."""

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
"""Sample rates beyond these come from damaged headers; resampling from them would take memory without end."""

LOCAL_FILES_ONLY = {"protocol_whitelist": "file"}
"""Some formats are lists of other addresses; a clip must not make us fetch them."""

ONE_THREAD = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
"""For the colour conversion, which from PyAV 17 on would start a thread per core in each of the worker processes."""

AUDIO_PACKETS_PER_RUN = 256
"""Audio packets are small and many: decoding them between the frames, one by one, keeps emptying the processor's caches."""


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
        fps: the video stream's average frame rate; 0 without video, or when the file gives no usable one.
        rate_hz: the audio stream's sample rate; 0 without audio.
        declared_frames: frames that the container promises by its duration and frame rate; 0 when it does not say.
        rotation_deg: counter-clockwise turn that a player applies to the frames, as the first of them says.
        frame_s: presentation time of the frame that was yielded last; `None` where the file does not say.
        sound_start_s: presentation time of the first sample; `None` without audio, or where the file does not say.
        problems: reason codes met on the way (`truncated`, `too_long`).
    """

    n_frames: int = 0
    n_samples: int = 0
    fps: float = 0.0
    rate_hz: int = 0
    declared_frames: int = 0
    rotation_deg: int = 0
    frame_s: float | None = None
    sound_start_s: float | None = None
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
    # Unlike Path.is_file, this is also False for a name that is too long for the file system.
    if not os.path.isfile(path):
        raise MediaError("missing_file", f"no such file: {path}")
    try:
        # The explicit protocol keeps libav from taking `a:b.mp4` for one called `a`.
        return av.open(f"file:{path}", metadata_errors="ignore", options=LOCAL_FILES_ONLY)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError("unreadable", f"cannot be opened as audio or video: {path} ({error})") from error


def video_stream(container: av.container.InputContainer) -> av.video.stream.VideoStream | None:
    """The clip's main video stream; cover pictures of audio files do not count."""
    moving = [
        stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    best = container.streams.best("video")
    return best if best in moving else next(iter(moving), None)


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
        self._end_s: dict[str, float] = {}

    def __iter__(self) -> Iterator[np.ndarray | AudioBlock]:
        """Decode the clip.

        Raises:
            MediaError: `missing_file` or `unreadable`.
        """
        with open_clip(self.path) as container:
            pictures = video_stream(container) if self._wanted[0] else None
            sound = container.streams.best("audio") if self._wanted[1] else None
            # A stream in a codec that libav does not know has no decoder: it counts as absent.
            streams = [stream for stream in (pictures, sound) if stream and stream.codec_context]
            if not streams:
                return
            for stream in streams:
                stream.codec_context.thread_type = "NONE"
                stream.codec_context.thread_count = 1
            if pictures is not None and pictures in streams:
                fps = float(pictures.average_rate or pictures.guessed_rate or 0)
                self.facts.fps = fps if fps >= LOWEST_FPS else 0.0
                self.facts.declared_frames = round(declared_video_s(container, pictures) * self.facts.fps)
            yield from self._decode(container, streams, VideoReformatter())
            self._note_truncation(container, streams)

    def _decode(
        self, container: av.container.InputContainer, streams: list, reformatter: VideoReformatter
    ) -> Iterator[np.ndarray | AudioBlock]:
        has_sound = any(stream.type == "audio" for stream in streams)
        for packet in in_runs(self._packets(container, streams)):
            if "too_long" in self.facts.problems:
                # In the file, the sound of the frames that were taken may come after them.
                if not has_sound or self.facts.audio_s >= self.facts.video_s:
                    return
                if packet.stream.type == "video":
                    continue
            for frame in self._frames(packet):
                item: np.ndarray | AudioBlock | None
                if isinstance(frame, av.AudioFrame):
                    item = self._block(frame)
                elif self.max_frames is not None and self.facts.n_frames >= self.max_frames:
                    self.facts.problems.add("too_long")
                    break
                else:
                    item = self._pixels(frame, reformatter)
                if item is not None:
                    yield item

    def _packets(self, container: av.container.InputContainer, streams: list) -> Iterator[av.Packet]:
        try:
            yield from container.demux(streams)
        except (av.error.FFmpegError, OSError, ValueError):
            self.facts.problems.add("truncated")
            for stream in streams:
                # An empty packet makes a decoder give out the frames that it still holds back.
                last = av.Packet()
                last.stream = stream
                yield last

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

    def _block(self, frame: av.AudioFrame) -> AudioBlock | None:
        """The frame's samples, or `None` for one that cannot be used."""
        try:
            samples = mono_samples(frame)
        except ValueError:
            samples = np.empty(0, np.float32)
        if not len(samples) or not LOWEST_RATE_HZ <= frame.sample_rate <= HIGHEST_RATE_HZ:
            self.facts.problems.add("truncated")
            return None
        if self.facts.rate_hz not in (0, frame.sample_rate):
            # A rate that changes midway would shift every frequency after it: what came before is kept.
            self.facts.problems.add("truncated")
            return None
        if self.facts.n_samples == 0:
            self.facts.sound_start_s = frame.time
        self.facts.rate_hz = frame.sample_rate
        self.facts.n_samples += len(samples)
        self._note_end("audio", frame.time, len(samples) / frame.sample_rate)
        return AudioBlock(samples, frame.sample_rate)

    def _pixels(self, frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray | None:
        """The frame as RGB, or `None` for one that cannot be converted."""
        try:
            # One reformatter for all frames: a new one per frame rebuilds the colour scaler, at twice the cost.
            pixels = rgb_view(reformatter.reformat(frame, format="rgb24", **ONE_THREAD))
        except (av.error.FFmpegError, ValueError, TypeError):
            self.facts.problems.add("truncated")
            return None
        if self.facts.n_frames == 0:
            self.facts.rotation_deg = frame.rotation
        self.facts.n_frames += 1
        self.facts.frame_s = frame.time
        self._note_end("video", frame.time, 1.0 / self.facts.fps if self.facts.fps else 0.0)
        return pixels

    def _note_end(self, kind: str, start_s: float | None, duration_s: float) -> None:
        if start_s is not None:
            self._end_s[kind] = float(start_s) + duration_s

    def _note_truncation(self, container: av.container.InputContainer, streams: list) -> None:
        """Decoders end silently where a file was cut; one that ends clearly before its declared end is `truncated`."""
        if "too_long" in self.facts.problems or not self._end_s:
            return
        reached = [(self._end_s.get(stream.type), declared_end_s(stream)) for stream in streams]
        if "matroska" in container.format.name:
            # Matroska declares one duration for the file, none for its streams.
            reached = [(max(self._end_s.values()), (container.duration or 0) / av.time_base)]
        for end_s, declared_s in reached:
            tolerance_s = max(TRUNCATION_TOLERANCE_S, 0.05 * declared_s)
            if end_s is not None and end_s < declared_s - tolerance_s:
                self.facts.problems.add("truncated")


def in_runs(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """The same packets, with the audio ones in runs of `AUDIO_PACKETS_PER_RUN`; each stream keeps its own order."""
    waiting: list[av.Packet] = []
    for packet in packets:
        if packet.stream.type != "audio":
            yield packet
            continue
        waiting.append(packet)
        if len(waiting) == AUDIO_PACKETS_PER_RUN:
            yield from waiting
            waiting = []
    yield from waiting


def declared_end_s(stream: av.stream.Stream) -> float:
    """When a stream says that it ends, in seconds; 0 when it does not say."""
    if stream.duration is None or stream.time_base is None:
        return 0.0
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base)


def declared_video_s(container: av.container.InputContainer, stream: av.stream.Stream) -> float:
    """Duration that a clip declares for its pictures, in seconds; 0 when it does not say."""
    if stream.duration is not None and stream.time_base is not None:
        return max(0.0, float(stream.duration * stream.time_base))
    return max(0.0, (container.duration or 0) / av.time_base)
