"""Container facts of a clip: sizes, rates, codecs, bit rates and durations.

Packets are read but not decoded, which takes milliseconds per clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from utils.media.errors import MediaError
from utils.media.streams import audio_stream, open_clip, packets_with_content, video_stream


@dataclass(frozen=True)
class StreamProbe:
    """One stream of a clip.

    Attributes:
        codec: libav's name of the decoder, e.g. `h264`.
        profile: the codec's profile; empty if there is none.
        tag: the container's four-character code for the codec; empty if there is none.
        sample_format: pixel format or audio sample format.
        time_base_s: seconds per tick of the stream's clock.
        start_s: start of the stream; 0 if not declared.
        duration_s: declared duration, or the time span of the packets if not declared.
        n_packets: number of packets; for video, the number of frames.
        n_bytes: total size of the packets.
        first_packet_bytes: size of the first packet.
        n_key_packets: number of packets that can be decoded independently.
    """

    codec: str
    profile: str
    tag: str
    sample_format: str
    time_base_s: float
    start_s: float
    duration_s: float
    n_packets: int
    n_bytes: int
    first_packet_bytes: int
    n_key_packets: int

    @property
    def bit_rate_bps(self) -> float:
        """Average bit rate in bits per second; 0 if the duration is unknown."""
        return 8 * self.n_bytes / self.duration_s if self.duration_s > 0 else 0.0


@dataclass(frozen=True)
class VideoProbe(StreamProbe):
    """Video stream. `level` is the codec level times ten, or -99 if unknown."""

    width_px: int
    height_px: int
    fps: float
    level: int
    b_frames: bool


@dataclass(frozen=True)
class AudioProbe(StreamProbe):
    """Audio stream."""

    sample_rate_hz: int
    channels: int


@dataclass(frozen=True)
class ContainerProbe:
    """Container of a clip.

    Attributes:
        file_bytes: size of the file.
        format: libav's name of the container format.
        encoder: tag of the program that wrote the file; empty if there is none.
        duration_s: declared duration of the file; 0 if not declared.
        n_streams: number of streams of any kind.
        video: the video stream, or `None`.
        audio: the audio stream, or `None`.
    """

    file_bytes: int
    format: str
    encoder: str
    duration_s: float
    n_streams: int
    video: VideoProbe | None
    audio: AudioProbe | None

    @property
    def audio_minus_video_s(self) -> float | None:
        """Audio duration minus video duration in seconds; `None` unless both streams exist."""
        if self.video is None or self.audio is None:
            return None
        return self.audio.duration_s - self.video.duration_s

    @property
    def overhead_bytes(self) -> int:
        """Bytes of the file outside the packets of the two streams."""
        return self.file_bytes - sum(stream.n_bytes for stream in (self.video, self.audio) if stream is not None)


@dataclass
class _Tally:
    """Running sums over the packets of a stream; times are in ticks."""

    packets: int = 0
    size: int = 0
    first: int = 0
    keys: int = 0
    begin: int | None = None
    end: int = 0

    def add(self, packet: av.Packet) -> None:
        self.first = self.first or packet.size
        self.packets += 1
        self.size += packet.size
        self.keys += bool(packet.is_keyframe)
        if packet.pts is not None:
            self.begin = packet.pts if self.begin is None else min(self.begin, packet.pts)
            self.end = max(self.end, packet.pts + (packet.duration or 0))

    @property
    def span(self) -> int:
        return 0 if self.begin is None else self.end - self.begin


def probe_container(path: Path) -> ContainerProbe:
    """Read the container facts of a clip.

    Args:
        path: any file that libav can open.

    Raises:
        MediaError: `missing_file`, or `unreadable` if the file cannot be opened or has neither video nor audio.
    """
    path = Path(path)
    with open_clip(path) as container:
        video, audio = video_stream(container), audio_stream(container)
        streams = [stream for stream in (video, audio) if stream is not None]
        if not streams:
            raise MediaError("unreadable", f"contains neither video nor audio: {path}")
        tallies = {stream.index: _Tally() for stream in streams}
        for packet in packets_with_content(container, streams):
            tallies[packet.stream.index].add(packet)
        tags = {key.lower(): value for key, value in container.metadata.items()}
        return ContainerProbe(
            file_bytes=path.stat().st_size,
            format=container.format.name,
            encoder=tags.get("encoder", ""),
            duration_s=container.duration / av.time_base if container.duration else 0.0,
            n_streams=len(container.streams),
            video=None if video is None else _video_probe(video, tallies[video.index]),
            audio=None if audio is None else _audio_probe(audio, tallies[audio.index]),
        )


def _stream_facts(stream: av.stream.Stream, tally: _Tally, sample_format: str) -> dict:
    tick_s = float(stream.time_base or 0)
    context = stream.codec_context
    return {
        "codec": context.name,
        "profile": stream.profile or "",
        # In containers without tags, this field contains unprintable bytes.
        "tag": "".join(letter for letter in str(context.codec_tag or "") if letter.isalnum()),
        "sample_format": sample_format,
        "time_base_s": tick_s,
        "start_s": (stream.start_time or 0) * tick_s,
        "duration_s": (tally.span if stream.duration is None else stream.duration) * tick_s,
        "n_packets": tally.packets,
        "n_bytes": tally.size,
        "first_packet_bytes": tally.first,
        "n_key_packets": tally.keys,
    }


def _video_probe(stream: av.video.stream.VideoStream, tally: _Tally) -> VideoProbe:
    context = stream.codec_context
    return VideoProbe(
        **_stream_facts(stream, tally, context.pix_fmt or ""),
        width_px=context.width,
        height_px=context.height,
        fps=float(stream.average_rate or stream.guessed_rate or 0),
        level=context.level,
        b_frames=bool(context.has_b_frames),
    )


def _audio_probe(stream: av.stream.Stream, tally: _Tally) -> AudioProbe:
    context: Any = stream.codec_context
    return AudioProbe(
        **_stream_facts(stream, tally, context.format.name if context.format else ""),
        sample_rate_hz=context.sample_rate or 0,
        channels=context.channels or 0,
    )
