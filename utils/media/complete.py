"""Whether a file is shorter than its container declares, as a copy that has not finished is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

HEAD_BYTES = 4096
MAX_BOXES = 10_000
"""Most boxes that are followed. A fragmented MP4 file has two per fragment, which usually lasts some seconds."""

FIRST_BOXES = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot"})
"""Types of the first box of MP4 and QuickTime files."""

INDEX_BOXES = frozenset({b"moov", b"moof"})
"""Types of the boxes without one of which such a file cannot be decoded. It is often the last box."""

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
STREAMED_SIZES = frozenset({0, 0xFFFFFFFF})
"""Sizes in the head of a RIFF file whose writer did not know the size."""


def is_cut_short(path: Path) -> bool:
    """Return whether a file ends before the end that its container declares.

    Only headers are read, of MP4 and QuickTime, Matroska and WebM, WAV and AVI. The answer is `False` for other formats, for
    files that were written as a stream, without a size, and for files that cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            head = stream.read(HEAD_BYTES)
            if head[4:8] in FIRST_BOXES:
                return not has_whole_boxes(stream, size)
    except OSError:
        return False
    if head.startswith(EBML):
        return segment_end(head) > size
    declared = int.from_bytes(head[4:8], "little")
    return head.startswith(b"RIFF") and declared not in STREAMED_SIZES and 8 + declared > size


def has_whole_boxes(stream: BinaryIO, size: int) -> bool:
    """Return whether the boxes of an MP4 file end with its last byte, `size`, and include an index."""
    position, has_index = 0, False
    for _ in range(MAX_BOXES):
        if position >= size:
            return position == size and has_index
        stream.seek(position)
        header = stream.read(16)
        length = int.from_bytes(header[:4], "big")
        has_index |= header[4:8] in INDEX_BOXES
        if length == 0:  # the box extends to the end of the file
            return has_index
        if length == 1:  # the length is too large for its field and follows the type
            length = int.from_bytes(header[8:], "big")
        if length < 8:
            return False
        position += length
    return True


def segment_end(head: bytes) -> int:
    """Return the declared end in bytes of the segment of a Matroska file that begins with `head`; 0 if there is none."""
    _, _, field = head.partition(SEGMENT)
    if not field or not field[0]:
        return 0
    # The number of leading zero bits is that of further bytes. A length of ones only is not known.
    width = 9 - field[0].bit_length()
    largest = (1 << 7 * width) - 1
    length = int.from_bytes(field[:width], "big") & largest
    return 0 if length == largest else len(head) - len(field) + width + length
