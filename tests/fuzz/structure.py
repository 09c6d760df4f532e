"""Structure of media files: the spans of MP4 atoms, Matroska elements, RIFF chunks, Ogg pages and transport stream packets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAX_PARTS = 4000
MAX_DEPTH = 8
TS_PACKET_BYTES = 188

MP4_PARENTS = frozenset(
    b"moov trak edts mdia minf dinf stbl udta meta mvex moof traf mfra ilst dref stsd avc1 mp4a".split()
)
MP4_HEADER = {b"meta": 4, b"dref": 8, b"stsd": 8, b"avc1": 78, b"mp4a": 28}
"""Bytes between the header of a parent atom and its first child."""

EBML_PARENTS = frozenset(
    bytes.fromhex(text)
    for text in "1A45DFA3 18538067 114D9B74 4DBB 1549A966 1654AE6B AE E0 E1 1F43B675 A0 1C53BB6B BB B7 1254C367".split()  # noqa: SIM905
)
RIFF_PARENTS = frozenset((b"RIFF", b"LIST"))


@dataclass(frozen=True)
class Part:
    """One part of a file: `data[start:end]`, of which the size field is `data[size_at : size_at + size_bytes]`."""

    start: int
    end: int
    size_at: int
    size_bytes: int
    little_endian: bool = False
    depth: int = 0


def parts_of(data: bytes) -> list[Part]:
    """Return the parts of a file in the order of their start, at most `MAX_PARTS`; empty for an unknown format."""
    reader: Callable[[bytes], Iterator[Part]]
    if data[:4] in (b"RIFF", b"FORM"):
        reader = riff_parts
    elif data[:4] == b"\x1a\x45\xdf\xa3":
        reader = ebml_parts
    elif data[:4] == b"OggS":
        reader = ogg_parts
    elif data[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide"):
        reader = mp4_parts
    elif data[:1] == b"G" and data[TS_PACKET_BYTES : TS_PACKET_BYTES + 1] == b"G":
        reader = packet_parts
    else:
        return []
    return [part for part, _ in zip(reader(data), range(MAX_PARTS), strict=False)]


def mp4_parts(data: bytes, start: int = 0, end: int | None = None, depth: int = 0) -> Iterator[Part]:
    """Yield MP4 atoms, parents before children."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        size = end - start if size in (0, 1) else size
        if size < 8 or start + size > end:
            return
        yield Part(start, start + size, start, 4, depth=depth)
        if kind in MP4_PARENTS and depth < MAX_DEPTH:
            yield from mp4_parts(data, start + 8 + MP4_HEADER.get(kind, 0), start + size, depth + 1)
        start += size


def ebml_parts(data: bytes, start: int = 0, end: int | None = None, depth: int = 0) -> Iterator[Part]:
    """Yield Matroska elements, parents before children."""
    end = len(data) if end is None else end
    while start + 2 <= end:
        id_bytes = vint_bytes(data[start])
        size_at = start + id_bytes
        if id_bytes > 4 or size_at >= end or (size_bytes := vint_bytes(data[size_at])) > 8:
            return
        value = int.from_bytes(data[size_at : size_at + size_bytes], "big") & ((1 << 7 * size_bytes) - 1)
        body = size_at + size_bytes
        unknown = value == (1 << 7 * size_bytes) - 1
        stop = end if unknown else body + value
        if stop > end:
            return
        yield Part(start, stop, size_at, size_bytes, depth=depth)
        if data[start:size_at] in EBML_PARENTS and depth < MAX_DEPTH:
            yield from ebml_parts(data, body, stop, depth + 1)
        start = stop


def vint_bytes(first: int) -> int:
    """Return the length of a variable-length integer from its first byte; 9 if the byte is 0."""
    return 9 - first.bit_length()


def riff_parts(data: bytes, start: int = 0, end: int | None = None, depth: int = 0) -> Iterator[Part]:
    """Yield RIFF chunks, parents before children."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        stop = min(end, start + 8 + size + size % 2)
        yield Part(start, stop, start + 4, 4, True, depth)
        if data[start : start + 4] in RIFF_PARENTS and depth < MAX_DEPTH:
            yield from riff_parts(data, start + 12, stop, depth + 1)
        start = stop


def ogg_parts(data: bytes) -> Iterator[Part]:
    """Yield Ogg pages. The size field is the number of segments."""
    start = 0
    while start + 27 <= len(data) and data[start : start + 4] == b"OggS":
        segments = data[start + 26]
        stop = start + 27 + segments + sum(data[start + 27 : start + 27 + segments])
        yield Part(start, min(stop, len(data)), start + 26, 1)
        start = stop


def packet_parts(data: bytes) -> Iterator[Part]:
    """Yield packets of a transport stream. The size field is the length of the adaptation field."""
    for start in range(0, len(data) - TS_PACKET_BYTES + 1, TS_PACKET_BYTES):
        yield Part(start, start + TS_PACKET_BYTES, start + 4, 1)
