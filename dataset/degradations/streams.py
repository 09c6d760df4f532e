"""Write a clip by copying streams packet by packet from other files."""

from __future__ import annotations

import errno
import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import av

from dataset.degradations.families import Container
from utils.media.errors import MediaError
from utils.media.limits import limited
from utils.media.streams import audio_stream, file_url, open_clip, video_stream

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG})


class ContainerRefusedError(Exception):
    """The container does not accept a stream's codec, rate or shape."""


@dataclass(frozen=True)
class Track:
    """One stream of a file.

    Attributes:
        path: file that contains the stream.
        kind: `video` or `audio`; selects the file's main stream of this kind.
        start_s: new start time of the stream; `None` keeps its timestamps.
    """

    path: Path
    kind: str
    start_s: float | None = None


def main_stream(container: av.container.InputContainer, kind: str) -> av.stream.Stream | None:
    """Return the stream that the decoder reads, never a cover image or a secondary track; `None` if there is none."""
    return video_stream(container) if kind == "video" else audio_stream(container)


def start_s(path: Path, kind: str) -> float:
    """Return the start time of the main stream of this kind in seconds; 0 if it is unknown or there is no such stream."""
    with open_clip(path) as container:
        stream = main_stream(container, kind)
        if stream is None or stream.start_time is None or stream.time_base is None:
            return 0.0
        return float(stream.start_time * stream.time_base)


def multiplex(output: Path, tracks: Sequence[Track], container: Container) -> None:
    """Copy streams into a new file without decoding them. Tracks without a stream are skipped.

    A truncated or damaged source is copied up to the first unreadable packet.

    Args:
        output: file to write; an existing file is overwritten.
        tracks: streams to copy, at most one of each kind.
        container: output format.

    Raises:
        MediaError: a file cannot be opened, or no track has a stream (`unreadable`).
        ContainerRefusedError: the container does not accept these streams.
        OSError: the disk is full, or the output cannot be written.
    """
    with ExitStack() as stack:
        found = []
        for track in tracks:
            source = stack.enter_context(open_clip(track.path))
            stream = main_stream(source, track.kind)
            if stream is not None:
                found.append((source, track, stream))
        if not found:
            raise MediaError("unreadable", f"neither video nor audio in {tracks[0].path if tracks else output}")
        for _, _, stream in found:
            codec = stream.codec_context.codec.canonical_name
            if container.codecs is not None and codec not in container.codecs:
                raise ContainerRefusedError(f"{container.suffix} does not support {codec}")
        with refusals_of(container), av.open(file_url(output), "w", options=container.options) as target:
            packets = [
                _packets(source, track, stream, target.add_stream_from_template(stream, opaque=True))
                for source, track, stream in found
            ]
            for _, packet in heapq.merge(*packets, key=itemgetter(0)):
                target.mux(packet)


@contextmanager
def refusals_of(container: Container) -> Iterator[None]:
    """Convert libav errors: `OSError` for disk errors, `ContainerRefusedError` for streams that the format rejects."""
    try:
        yield
    except (av.error.FFmpegError, ValueError) as error:
        number = getattr(error, "errno", None)
        if number in DISK_ERRORS:
            raise OSError(number, str(error)) from error
        raise ContainerRefusedError(f"{container.suffix} does not accept the streams ({error})") from error


def _packets(
    source: av.container.InputContainer, track: Track, stream: av.stream.Stream, written: av.stream.Stream
) -> Iterator[tuple[float, av.Packet]]:
    """Yield the stream's packets with decoding times in seconds, assigned to the output stream."""
    shift = 0
    if track.start_s is not None and stream.time_base is not None:
        shift = round(track.start_s / stream.time_base) - (stream.start_time or 0)
    time_s = 0.0
    packets = limited(source.demux(stream), track.path)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError, ValueError):
            return
        if packet.size == 0:
            continue
        if packet.dts is not None:
            packet.dts += shift
            time_s = float(packet.dts * packet.time_base)
        if packet.pts is not None:
            packet.pts += shift
        packet.stream = written
        yield time_s, packet
