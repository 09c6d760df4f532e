"""Decoding of a clip in one pass: each frame as RGB and each audio sample as mono. Nothing is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from utils.media.display import DisplayGeometry, display_geometry
from utils.media.frames import channel_samples, is_encrypted, rgb_view, tick_of
from utils.media.limits import limited
from utils.media.mono import AudioBlock, MonoMixer
from utils.media.streams import (
    audio_stream,
    audio_track,
    count_frames,
    declared_end_s,
    declared_video_s,
    in_runs,
    open_clip,
    other_audio_tracks,
    undecodable_streams,
    video_stream,
)

TRUNCATION_TOLERANCE_S = 0.25
"""A clip is truncated if its last frame ends earlier than declared by more than this."""

MAX_DECODE_ERRORS = 200
"""After this many undecodable packets in a row, the rest of their stream is skipped as damaged."""

LOWEST_FPS = 0.01
"""Lower frame rates come from still images or damaged headers. No duration is computed from them."""

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
"""Sample rates outside this range come from damaged headers. Resampling from them could exhaust memory."""

ONE_THREAD = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
"""Options of the colour conversion. By default, PyAV 17 starts one thread per core in each worker process."""


@dataclass
class StreamFacts:
    """Facts collected in one pass over a clip. They are complete when the pass has ended.

    Attributes:
        n_frames: frames decoded.
        n_samples: audio samples decoded, per channel, at all sample rates.
        fps: average frame rate of the video stream; 0 without video or without a usable rate.
        rate_hz: sample rate of the latest samples; 0 without audio.
        earlier_samples: number of samples decoded before the latest change of the sample rate.
        earlier_audio_s: duration of these samples in seconds.
        declared_frames: number of frames according to the container's duration and frame rate; 0 if not declared.
        declared_s: duration of the file according to the container; 0 if not declared.
        display: rotation, mirroring and pixel shape that a player applies, from the first frame.
        frame_s: presentation time of the latest frame in seconds; `None` if the file does not declare it.
        audio_start_s: presentation time of the first sample in seconds; `None` without audio or if not declared.
        problems: reason codes of this pass (`truncated`, `too_long`, `encrypted`).
        notes: sentences about the file for the log, for example on skipped tracks.
    """

    n_frames: int = 0
    n_samples: int = 0
    fps: float = 0.0
    rate_hz: int = 0
    earlier_samples: int = 0
    earlier_audio_s: float = 0.0
    declared_frames: int = 0
    declared_s: float = 0.0
    display: DisplayGeometry = field(default_factory=DisplayGeometry)
    frame_s: float | None = None
    audio_start_s: float | None = None
    problems: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    @property
    def video_s(self) -> float:
        """Duration of the decoded frames in seconds."""
        return self.n_frames / self.fps if self.fps > 0 else 0.0

    @property
    def audio_s(self) -> float:
        """Duration of the decoded samples in seconds."""
        latest_s = (self.n_samples - self.earlier_samples) / self.rate_hz if self.rate_hz > 0 else 0.0
        return self.earlier_audio_s + latest_s

    @property
    def duration_s(self) -> float:
        """Duration of the longer of the two streams in seconds."""
        return max(self.video_s, self.audio_s)


class ClipStream:
    """Single-use iterator over a clip that yields (H, W, 3) uint8 RGB frames and `AudioBlock`s.

    Frames are yielded in file order. Audio is decoded in file order, but may be yielded later than the frames around it
    (see `MonoMixer`). A frame is a view of the decoder's memory and is valid until the next item is requested. Pixels are
    libswscale's RGB24 in coded orientation; `facts.display` rotates them upright. Both decoders run in the calling
    thread, because worker processes already decode clips in parallel. `facts` is updated during the pass.

    Attributes:
        is_needed: called before each frame except the first, with its presentation time in seconds or `None`. `facts.n_frames`
            is then the frame's number. If the answer is false, the frame counts but is neither converted to RGB nor yielded.
    """

    is_needed: Callable[[float | None], bool] | None = None

    def __init__(
        self,
        path: Path,
        *,
        video: bool = True,
        audio: bool = True,
        max_frames: int | None = None,
        count_undeclared: bool = False,
    ) -> None:
        """Select the streams to decode.

        Args:
            path: any container that libav can read.
            video: whether to decode frames.
            audio: whether to decode samples.
            max_frames: number of frames after which the pass ends with the problem `too_long`.
            count_undeclared: if the container declares no duration, count the packets before decoding.
                `facts.declared_frames` is then known from the first frame on.
        """
        self.path = Path(path)
        self.max_frames = max_frames
        self.facts = StreamFacts()
        self._wanted = (video, audio)
        self._count_undeclared = count_undeclared
        self._mixer = MonoMixer()
        self._undecodable: Counter[int] = Counter()
        self._tick_s = 0.0
        self._end_s: dict[str, float] = {}

    def __iter__(self) -> Iterator[np.ndarray | AudioBlock]:
        """Decode the clip.

        Raises:
            MediaError: see `open_clip`; `over_limit` also after too many packets.
        """
        with open_clip(self.path) as container:
            video = video_stream(container) if self._wanted[0] else None
            audio = audio_stream(container) if self._wanted[1] else None
            self.facts.notes += [f"{track} is skipped: no decoder" for track in undecodable_streams(container)]
            streams: list[av.stream.Stream] = [stream for stream in (video, audio) if stream is not None]
            if not streams:
                return
            for stream in streams:
                _decode_in_this_thread(stream)
            if video is not None:
                self._note_declared(container, video)
            yield from self._decode(container, streams, VideoReformatter())
            if audio is not None and not self.facts.n_samples:
                yield from self._other_audio(other_audio_tracks(container, audio))
                streams.remove(audio)
            yield from self._mixer.finish()
            if self._mixer.cancelled:
                self.facts.notes.append(f"the channels cancel: mono is channel {self._mixer.cancelled}, not the mean")
            self._note_truncation(container, streams)

    def _other_audio(self, tracks: list[int]) -> Iterator[np.ndarray | AudioBlock]:
        """Decode the first of these audio tracks that has samples. Each needs a pass over the file."""
        for index in tracks:
            with open_clip(self.path) as container:
                stream = audio_track(container, index)
                if stream is None:  # the file has been replaced since the track was found
                    continue
                _decode_in_this_thread(stream)
                yield from self._decode(container, [stream], VideoReformatter())
            if self.facts.n_samples:
                self.facts.notes.append(f"audio track {index} is used: the main one has no sample")
                return

    def _note_declared(self, container: av.container.InputContainer, video: av.video.stream.VideoStream) -> None:
        fps = float(video.average_rate or video.guessed_rate or 0)
        self.facts.fps = fps if fps >= LOWEST_FPS else 0.0
        self.facts.declared_frames = round(declared_video_s(container, video) * self.facts.fps)
        self.facts.declared_s = max(0.0, (container.duration or 0) / av.time_base)
        if self._count_undeclared and not self.facts.declared_frames:
            self.facts.declared_frames = count_frames(self.path, self.facts.fps)

    def _decode(
        self, container: av.container.InputContainer, streams: list, reformatter: VideoReformatter
    ) -> Iterator[np.ndarray | AudioBlock]:
        has_audio = any(stream.type == "audio" for stream in streams)
        for packet in in_runs(self._packets(container, streams)):
            if "too_long" in self.facts.problems:
                # The audio of the decoded frames may be stored after them.
                if not has_audio or self.facts.audio_s >= self.facts.video_s:
                    return
                if packet.stream.type == "video":
                    continue
            for frame in self._frames(packet):
                if isinstance(frame, av.AudioFrame):
                    yield from self._blocks(frame)
                    continue
                if self.max_frames is not None and self.facts.n_frames >= self.max_frames:
                    self.facts.problems.add("too_long")
                    break
                if self.facts.n_frames == 0:
                    self.facts.display = display_geometry(packet.stream, frame)
                    self._tick_s = tick_of(frame)
                pixels = self._pixels(frame, reformatter)
                if pixels is not None:
                    yield pixels

    def _packets(self, container: av.container.InputContainer, streams: list) -> Iterator[av.Packet]:
        try:
            yield from limited(container.demux(streams), self.path)
        except (av.error.FFmpegError, OSError, ValueError):
            self.facts.problems.add("truncated")
            for stream in streams:
                # An empty packet makes a decoder return its buffered frames.
                last = av.Packet()
                last.stream = stream
                yield last

    def _frames(self, packet: av.Packet) -> list:
        if self._undecodable[packet.stream.index] >= MAX_DECODE_ERRORS:
            return []
        if is_encrypted(packet):
            self.facts.problems.add("encrypted")
            return []
        try:
            frames = packet.decode()
            self._undecodable[packet.stream.index] = 0
            return frames
        except (av.error.FFmpegError, ValueError) as error:
            if not isinstance(error, av.error.EOFError):
                self._undecodable[packet.stream.index] += 1
                self.facts.problems.add("truncated")
            return []

    def _blocks(self, frame: av.AudioFrame) -> Iterator[AudioBlock]:
        """Yield the mono blocks completed by a frame. An unusable frame yields none."""
        try:
            samples = channel_samples(frame)
        except ValueError:
            self.facts.problems.add("truncated")
            return
        if not len(samples) or not LOWEST_RATE_HZ <= frame.sample_rate <= HIGHEST_RATE_HZ:
            self.facts.problems.add("truncated")
            return
        if self.facts.n_samples == 0:
            self.facts.audio_start_s = frame.time
        if self.facts.rate_hz not in (0, frame.sample_rate):
            self.facts.earlier_audio_s, self.facts.earlier_samples = self.facts.audio_s, self.facts.n_samples
        self.facts.rate_hz = frame.sample_rate
        self.facts.n_samples += len(samples)
        self._note_end("audio", frame.time, len(samples) / frame.sample_rate)
        yield from self._mixer.add(samples)

    def _pixels(self, frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray | None:
        """Return the frame as RGB; `None` if it cannot be converted or is not needed."""
        pixels, time_s = None, frame.time
        if not self.facts.n_frames or self.is_needed is None or self.is_needed(time_s):
            try:
                # Reuse one reformatter for all frames. A new one per frame rebuilds the colour scaler and doubles the cost.
                pixels = rgb_view(reformatter.reformat(frame, format="rgb24", **ONE_THREAD))
            except (av.error.FFmpegError, ValueError, TypeError):
                self.facts.problems.add("truncated")
                return None
        self.facts.n_frames += 1
        self.facts.frame_s = time_s
        # Computed with floats, since arithmetic with the fractions of PyAV takes longer than the conversion of a small frame.
        duration_s = (frame.duration or 0) * self._tick_s
        self._note_end("video", time_s, max(duration_s, 1.0 / self.facts.fps if self.facts.fps else 0.0))
        return pixels

    def _note_end(self, kind: str, start_s: float | None, duration_s: float) -> None:
        if start_s is not None:
            self._end_s[kind] = float(start_s) + duration_s

    def _note_truncation(self, container: av.container.InputContainer, streams: list) -> None:
        """Report `truncated` if a stream ends clearly before its declared end. Decoders do not detect this."""
        if "too_long" in self.facts.problems or not self._end_s:
            return
        reached = [(self._end_s.get(stream.type), declared_end_s(stream)) for stream in streams]
        if "matroska" in container.format.name:
            # Matroska declares one duration for the file and none for its streams.
            reached = [(max(self._end_s.values()), (container.duration or 0) / av.time_base)]
        for end_s, declared_s in reached:
            tolerance_s = max(TRUNCATION_TOLERANCE_S, 0.05 * declared_s)
            if end_s is not None and end_s < declared_s - tolerance_s:
                self.facts.problems.add("truncated")


def _decode_in_this_thread(stream: av.stream.Stream) -> None:
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
