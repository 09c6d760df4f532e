"""Write a clip whose streams are copied, packet by packet, from other files."""

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
from utils.media.streams import audio_stream, open_clip, video_stream

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG})


class ContainerRefusedError(Exception):
    """A container does not take a stream's codec, rate or shape."""


@dataclass(frozen=True)
class Track:
    """One stream of a file.

    Attributes:
        path: the file.
        kind: `video` or `audio`; the file's main stream of this kind is meant.
        start_s: when the stream should begin; `None` leaves its times as they are.
    """

    path: Path
    kind: str
    start_s: float | None = None


def main_stream(container: av.container.InputContainer, kind: str) -> av.stream.Stream | None:
    """Return the stream that the decoder reads, or `None`. Cover pictures and second audio tracks are ignored."""
    return video_stream(container) if kind == "video" else audio_stream(container)


def start_s(path: Path, kind: str) -> float:
    """When the main stream of this kind begins, in seconds; 0 where the file does not say, or has no such stream."""
    with open_clip(path) as container:
        stream = main_stream(container, kind)
        if stream is None or stream.start_time is None or stream.time_base is None:
            return 0.0
        return float(stream.start_time * stream.time_base)


def multiplex(output: Path, tracks: Sequence[Track], container: Container) -> None:
    """Copy streams into a new file without decoding them; a track whose file has no such stream adds nothing.

    A source that ends early or is damaged is copied as far as it can be read, as the decoder reads it.

    Args:
        output: the file to write, overwritten where it exists.
        tracks: the streams, at most one of each kind.
        container: the format.

    Raises:
        MediaError: a file cannot be opened, or none has its stream (`unreadable`).
        ContainerRefusedError: the container does not take these streams.
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
            raise MediaError("unreadable", f"neither frames nor sound in {tracks[0].path if tracks else output}")
        for _, _, stream in found:
            codec = stream.codec_context.codec.canonical_name
            if container.codecs is not None and codec not in container.codecs:
                raise ContainerRefusedError(f"{container.suffix} is not for {codec}")
        with refusals_of(container), av.open(str(output), "w", options=container.options) as target:
            packets = [
                _packets(source, track, stream, target.add_stream_from_template(stream, opaque=True))
                for source, track, stream in found
            ]
            for _, packet in heapq.merge(*packets, key=itemgetter(0)):
                target.mux(packet)


@contextmanager
def refusals_of(container: Container) -> Iterator[None]:
    """Tell a format that does not take a stream (`ContainerRefusedError`) from a disk that does (`OSError`)."""
    try:
        yield
    except (av.error.FFmpegError, ValueError) as error:
        number = getattr(error, "errno", None)
        if number in DISK_ERRORS:
            raise OSError(number, str(error)) from error
        raise ContainerRefusedError(f"{container.suffix} does not take the streams ({error})") from error


def _packets(
    source: av.container.InputContainer, track: Track, stream: av.stream.Stream, written: av.stream.Stream
) -> Iterator[tuple[float, av.Packet]]:
    """Yield the stream's packets with decoding times in seconds, assigned to the output stream."""
    shift = 0
    if track.start_s is not None and stream.time_base is not None:
        shift = round(track.start_s / stream.time_base) - (stream.start_time or 0)
    time_s = 0.0
    packets = source.demux(stream)
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
