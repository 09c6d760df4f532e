"""Limits on clips: accepted formats and sizes. A clip outside them is refused before it is decoded, with a reason code.

Every limit is far above ordinary clips. The limits bound the memory and the files that a hostile clip can make us use; the
time limit and the memory limit of the worker processes bound the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av

from utils.media.errors import MediaError

MAX_PIXELS = 8192 * 4320
"""Largest frame, in pixels: DCI 8K. One RGB frame of this size takes 106 MB; a decoder keeps up to 17 frames."""

MAX_SIDE_PX = 16_384
"""Longest side of a frame. Longer sides exceed the limits of most codecs."""

MAX_FPS = 1_000
"""Highest average frame rate, in frames per second. Phones record slow motion at up to 960."""

MAX_DURATION_S = 24 * 3600.0
"""Longest declared duration, in seconds."""

MAX_PACKETS = 10_000_000
"""Most packets decoded per pass: 24 h of video at 60 frames per second with audio."""

MAX_STREAMS = 128
"""Most streams of any kind. Broadcast recordings have a few dozen."""

MAX_CHANNELS = 64
"""Most audio channels: seventh-order ambisonics."""

MAX_SAMPLES_PER_FRAME = 1 << 24
"""Most samples per channel in one audio frame. Uncompressed formats use at most a few thousand, Monkey's Audio 1.2 million."""

FORMATS = tuple(
    """
    mov matroska avi mpegts mpeg asf asf_o flv kux live_flv mxf gxf ogg nut ivf obu av1 wtv rm ivr dv gif apng ty nsv nuv pva
    dhav yuv4mpegpipe h261 h263 h264 hevc vvc m4v mpegvideo mjpeg mjpeg_2000 vc1 vc1test dirac dnxhd cavsvideo avs2 avs3
    wav w64 aiff au caf flac mp3 aac loas ac3 eac3 ac4 truehd mlp dts dtshd amr amrnb amrwb ape mpc mpc8 tta tak wv voc dsf iff
    oma shn gsm ircam nistsphere sox iamf jpeg_pipe png_pipe webp_pipe bmp_pipe
    """.split()  # noqa: SIM905  (a list of quoted words is harder to read)
)
"""Accepted formats, by libav's names of its demuxers.

All of them store the media in the file itself. Formats that make libav open other files or addresses are absent: playlists
(`hls`, `dash`), scripts (`concat`, `avisynth`), session descriptions (`sdp`, `rtsp`), image sequences (`image2`) and devices.
Formats of games and of single camera models are absent as well, because few people test their demuxers.
"""

OPEN_OPTIONS = {
    # `file` still lets a playlist open local files, so the formats are restricted too.
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(FORMATS),
    "max_streams": str(MAX_STREAMS + 1),
    # Decoders that inspect the streams report the size of a frame only if they accept it.
    "max_pixels": str(4 * MAX_PIXELS),
    "max_samples": str(MAX_SAMPLES_PER_FRAME),
}
"""Options of libav for opening a clip and inspecting its streams."""

DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS), "max_samples": str(MAX_SAMPLES_PER_FRAME)}
"""Options of libav for decoding. They also limit frames if the size changes within a stream."""

HEAD_BYTES = 4096

POINTERS: tuple[tuple[str, bytes], ...] = (
    ("an HLS playlist", b"#extm3u"),
    ("a DASH manifest", b"<mpd"),
    ("a concat script", b"ffconcat version"),
    ("an SDP session description", b"\nc=in ip"),
    ("an ASX playlist", b"<asx"),
    ("an SMIL playlist", b"<smil"),
    ("a PLS playlist", b"[playlist]"),
    ("an ASF reference file", b"[reference]"),
    ("an XSPF playlist", b"<playlist"),
    ("a Smooth Streaming manifest", b"<smoothstreamingmedia"),
    ("an IMF composition", b"<compositionplaylist"),
)
"""Kinds of text files that refer to media elsewhere, with a mark in lower case that occurs at the start of such a file."""


def pointer_kind(path: Path) -> str | None:
    """Return the kind of a file that refers to other files or addresses, e.g. "an HLS playlist"; `None` for other files.

    The kind is only needed for the message. libav refuses all formats except `FORMATS`, whether or not this finds a kind.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as stream:
        head = stream.read(HEAD_BYTES)
    # Binary formats may contain a mark by chance. Text files contain no NUL.
    if b"\0" in head:
        return None
    return next((kind for kind, mark in POINTERS if mark in head.lower()), None)


def refuse_oversized(container: av.container.InputContainer, streams: Iterable[Any], path: Path) -> None:
    """Check the declared sizes of an open clip and of its decodable streams.

    Raises:
        MediaError: `over_limit`.
    """
    if len(container.streams) > MAX_STREAMS:
        raise over_limit(path, f"more than {MAX_STREAMS} streams")
    declared_s = [container.duration / av.time_base if container.duration else 0.0]
    for stream in streams:
        context = stream.codec_context
        if stream.duration is not None and stream.time_base is not None:
            declared_s.append(float(stream.duration * stream.time_base))
        if context is not None and stream.type == "video":
            refuse_frame_size(context.width, context.height, path)
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            if rate > MAX_FPS:
                raise over_limit(path, f"{rate:.0f} frames per second; the limit is {MAX_FPS}")
        elif context is not None and stream.type == "audio" and context.channels > MAX_CHANNELS:
            raise over_limit(path, f"{context.channels} audio channels; the limit is {MAX_CHANNELS}")
    if max(declared_s) > MAX_DURATION_S:
        hours, limit = max(declared_s) / 3600, MAX_DURATION_S / 3600
        raise over_limit(path, f"a duration of {hours:.0f} h; the limit is {limit:.0f} h")


def refuse_frame_size(width: int, height: int, path: Path) -> None:
    """Check a frame size in pixels.

    Raises:
        MediaError: `over_limit`.
    """
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE_PX:
        limit = f"{MAX_PIXELS / 1e6:.1f} million pixels and {MAX_SIDE_PX} per side"
        raise over_limit(path, f"frames of {width} x {height} pixels; the limit is {limit}")


def limited(packets: Iterable[av.Packet], path: Path) -> Iterator[av.Packet]:
    """Yield packets up to the limit.

    Raises:
        MediaError: `over_limit`, at the packet after the last allowed one.
    """
    try:
        for number, packet in enumerate(packets):
            if number >= MAX_PACKETS:
                raise over_limit(path, f"more than {MAX_PACKETS} packets")
            yield packet
    except IndexError:
        # A stream that begins in the middle of a broadcast recording is unknown to PyAV, which fails to end it after it has
        # yielded all packets of the other streams.
        return


def over_limit(path: Path, what: str) -> MediaError:
    """Return the error for a clip that has too much of something."""
    return MediaError("over_limit", f"the clip is refused because it has {what}: {path}")
