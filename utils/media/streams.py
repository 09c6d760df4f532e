"""Functions that open clips, select their main streams and read declared durations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from utils.media.errors import MediaError
from utils.media.limits import DECODER_OPTIONS, OPEN_OPTIONS, limited, pointer_kind, refuse_oversized

av.logging.set_level(av.logging.PANIC)

AUDIO_PACKETS_PER_RUN = 256
"""Audio packets are decoded in runs of this length. Alternating with video frames would evict the processor's caches."""


def file_url(path: str | Path) -> str:
    """Return the `file:` URL of a local path. Without it, libav would read `a:b.mp4` as a URL with the protocol `a`."""
    return f"file:{path}"


def open_clip(path: Path) -> av.container.InputContainer:
    """Open a clip for reading.

    Raises:
        MediaError: `missing_file`, `unreadable`, `refused_format` or `over_limit`.
    """
    # Unlike Path.is_file, os.path.isfile returns False if the name is too long for the file system.
    if not os.path.isfile(path):
        raise MediaError("missing_file", f"no such file: {path}")
    try:
        # The system's own files below /proc have no size. Reading some of them never ends.
        if not os.path.getsize(path):
            raise MediaError("unreadable", f"the file is empty: {path}")
        kind = pointer_kind(path)
        if kind is not None:
            raise MediaError("refused_format", f"the file is {kind}, which refers to other files: {path}")
        container = av.open(file_url(path), metadata_errors="ignore", options=OPEN_OPTIONS)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if "not on whitelist" in str(error):
            raise MediaError("refused_format", f"the file is an image sequence or has a rare format: {path}") from error
        problem = getattr(error, "strerror", None) or error
        raise MediaError("unreadable", f"cannot be opened as audio or video: {path} ({problem})") from error
    try:
        refuse_oversized(container, [stream for stream in container.streams if not _is_picture(stream)], path)
    except MediaError:
        container.close()
        raise
    for stream in container.streams:
        if stream.codec_context is not None:
            stream.codec_context.options = dict(DECODER_OPTIONS)
    return container


def video_stream(container: av.container.InputContainer) -> VideoStream | None:
    """Return the main decodable video stream, or `None` if there is none. Cover images are ignored."""
    return cast(VideoStream | None, _main_stream(container, "video"))


def audio_stream(container: av.container.InputContainer) -> AudioStream | None:
    """Return the main decodable audio stream, or `None` if there is none."""
    return cast(AudioStream | None, _main_stream(container, "audio"))


def has_video(path: Path) -> bool:
    """Return whether a file has a decodable video stream. Nothing is decoded, and cover images are ignored.

    Raises:
        MediaError: see `open_clip`.
    """
    with open_clip(path) as container:
        return video_stream(container) is not None


def undecodable_streams(container: av.container.InputContainer) -> list[str]:
    """Return the names of the audio and video streams without a decoder in libav, e.g. "audio track 1"."""
    streams = (stream for stream in container.streams if stream.type in ("audio", "video"))
    return [
        f"{stream.type} track {stream.index}"
        for stream in streams
        if stream.codec_context is None and not _is_picture(stream)
    ]


def other_audio_tracks(container: av.container.InputContainer, main: AudioStream) -> list[int]:
    """Return the indices of the decodable audio streams except the main one."""
    return [stream.index for stream in _decodable_streams(container, "audio") if stream.index != main.index]


def audio_track(container: av.container.InputContainer, index: int) -> AudioStream | None:
    """Return the decodable audio stream with an index, or `None` if there is none."""
    streams = _decodable_streams(container, "audio")
    return cast(AudioStream | None, next((stream for stream in streams if stream.index == index), None))


def _main_stream(container: av.container.InputContainer, kind: Literal["audio", "video"]) -> av.stream.Stream | None:
    candidates = _decodable_streams(container, kind)
    best = container.streams.best(kind)
    if best in candidates:
        return best
    preferred = [stream for stream in candidates if stream.disposition & av.stream.Disposition.default]
    return next(iter([*preferred, *candidates]), None)


def _decodable_streams(
    container: av.container.InputContainer, kind: Literal["audio", "video"]
) -> list[av.stream.Stream]:
    return [
        stream
        for stream in container.streams
        if stream.type == kind
        and stream.codec_context is not None
        and not _is_picture(stream)
        and not _is_empty(stream)
    ]


def _is_picture(stream: av.stream.Stream) -> bool:
    kinds = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    return bool(stream.disposition & kinds)


def _is_empty(stream: av.stream.Stream) -> bool:
    """Return whether the container declares a stream of zero duration."""
    return stream.duration == 0 and not stream.frames


def declared_end_s(stream: av.stream.Stream) -> float:
    """Return the declared end of a stream in seconds; 0 if not declared."""
    if stream.duration is None or stream.time_base is None:
        return 0.0
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base)


def declared_video_s(container: av.container.InputContainer, stream: av.stream.Stream) -> float:
    """Return the declared duration of the video in seconds; 0 if not declared."""
    if stream.duration is not None and stream.time_base is not None:
        return max(0.0, float(stream.duration * stream.time_base))
    return max(0.0, (container.duration or 0) / av.time_base)


def count_frames(path: Path, fps: float) -> int:
    """Count the frames of a clip from its packets, without decoding.

    This is for containers without a declared duration (piped Matroska, raw H.264). A Matroska file declares one duration,
    the end of its longest stream. The same rule is applied here, so the result does not depend on the declaration.

    Args:
        path: the clip.
        fps: average frame rate; 0 if unknown.

    Raises:
        MediaError: see `open_clip`.
    """
    with open_clip(path) as container:
        video = video_stream(container)
        streams = [stream for stream in (video, audio_stream(container)) if stream is not None]
        n_packets, end_s = 0, 0.0
        for packet in packets_with_content(container, streams):
            n_packets += packet.stream is video
            if packet.pts is not None and packet.time_base is not None:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        return round(end_s * fps) if fps and "matroska" in container.format.name else n_packets


def packets_with_content(container: av.container.InputContainer, streams: list) -> Iterator[av.Packet]:
    """Yield the non-empty packets of the given streams. Stop where a damaged file becomes unreadable."""
    if not streams:
        return
    try:
        for packet in limited(container.demux(streams), Path(container.name.removeprefix("file:"))):
            if packet.size:
                yield packet
    except (av.error.FFmpegError, OSError, ValueError):
        return


def in_runs(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """Yield the packets, with audio packets grouped in runs of `AUDIO_PACKETS_PER_RUN`. Each stream keeps its order."""
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
