"""Marks of origin in a file: C2PA content credentials, XMP packets, and signatures of encoders and generators.

The scan is bounded: it reads the headers of at most `MAX_BOXES` boxes and at most `HEAD_BYTES` at the start of the file and
`TAIL_BYTES` at its end. Nothing is verified: a mark can be forged, copied or removed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engine.evidence.types import Mark

C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
MAX_BOXES = 4096
HEAD_BYTES, TAIL_BYTES = 4 << 20, 1 << 20
BOX_HEAD, LARGE_SIZE, UUID_SIZE = 8, 8, 16

CONTAINERS = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"meta", b"jumb"})
"""Types of the first box of a file with boxes (MP4, MOV, M4A)."""

SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia", "iptc_ai",
     "Its metadata declare the content as made by a trained algorithm (IPTC digital source type)."),
    (b"compositeWithTrainedAlgorithmicMedia", "iptc_ai",
     "Its metadata declare parts of the content as made by a trained algorithm (IPTC digital source type)."),
    (b"x264 - core", "encoder", "The video was encoded by x264, which many editors, websites and generators use."),
    (b"x265 (build", "encoder", "The video was encoded by x265, which many editors, websites and generators use."),
    (b"c2pa.assertions", "c2pa", "The file contains a C2PA manifest (content credentials). It was not verified."),
    (b"contentauth", "c2pa", "The file contains content credentials. They were not verified."),
)  # fmt: skip
"""Bytes, code and message of each signature."""

C2PA_BOX = "The file contains a C2PA manifest (content credentials). It was not verified."
JUMBF_BOX = "The file contains a JUMBF box, in which content credentials are stored. It was not verified."
XMP_BOX = "The file contains an XMP packet, which editing programs write."


def find_marks(path: Path) -> tuple[Mark, ...]:
    """Search a file for marks of origin; each code occurs once.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as stream:
        found = [*box_marks(stream), *signature_marks(stream)]
    return tuple({mark.code: mark for mark in reversed(found)}.values())[::-1]


def box_marks(stream: BinaryIO) -> Iterator[Mark]:
    """Yield the marks among the top-level boxes of an MP4 or MOV file."""
    for kind, identifier in top_level_boxes(stream):
        if kind == b"uuid" and identifier == C2PA_UUID:
            yield Mark("c2pa", C2PA_BOX)
        elif kind == b"uuid" and identifier == XMP_UUID:
            yield Mark("xmp", XMP_BOX)
        elif kind == b"jumb":
            yield Mark("jumbf", JUMBF_BOX)


def top_level_boxes(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and extended type (empty unless `uuid`) of the top-level boxes; none for a file without boxes.

    Sizes come from the file. The scan stops at a size that does not advance or that exceeds the file.
    """
    end = stream.seek(0, 2)
    position = 0
    for number in range(MAX_BOXES):
        if position + BOX_HEAD > end:
            return
        stream.seek(position)
        head = stream.read(BOX_HEAD + LARGE_SIZE + UUID_SIZE)
        size, kind = struct.unpack(">I4s", head[:BOX_HEAD])
        if number == 0 and kind not in CONTAINERS:
            return
        skipped = BOX_HEAD
        if size == 1 and len(head) >= BOX_HEAD + LARGE_SIZE:
            (size,) = struct.unpack(">Q", head[BOX_HEAD : BOX_HEAD + LARGE_SIZE])
            skipped += LARGE_SIZE
        yield kind, head[skipped : skipped + UUID_SIZE] if kind == b"uuid" else b""
        if size < skipped:  # a size of 0 extends to the end of the file
            return
        position += size


def signature_marks(stream: BinaryIO) -> Iterator[Mark]:
    """Yield the signatures at the start and at the end of a file."""
    end = stream.seek(0, 2)
    stream.seek(0)
    content = stream.read(HEAD_BYTES)
    if end > HEAD_BYTES:
        stream.seek(max(HEAD_BYTES, end - TAIL_BYTES))
        content += stream.read(TAIL_BYTES)
    for signature, code, message in SIGNATURES:
        if signature in content:
            yield Mark(code, message)
