"""Files that are shorter than their containers declare, as copies are until they have finished."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import av
import pytest

from tests.support import write_video
from utils.media import complete
from utils.media.complete import is_cut_short

MOVFLAGS = {"first.mp4": "faststart", "fragments.mp4": "frag_keyframe+empty_moov+default_base_moof"}
"""Where the index of an MP4 file is: before the frames, or in every fragment."""


def write(path: Path) -> bytes:
    """Write a clip as its name says; return the content."""
    if path.name not in MOVFLAGS:
        return write_video(path, 0, video=path.suffix != ".wav").read_bytes()
    plain = write_video(path.with_name("plain.mp4"), 0)
    with av.open(str(plain)) as source, av.open(str(path), "w", options={"movflags": MOVFLAGS[path.name]}) as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi", "a.wav", *MOVFLAGS])
def test_copy_is_cut_short_until_it_has_finished(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    content = write(path)
    assert not is_cut_short(path)
    for end in (len(content) // 3, 2 * len(content) // 3, -1):
        path.write_bytes(content[:end])
        assert is_cut_short(path)


def test_mp4_cut_between_two_boxes_lacks_its_index(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    content = write(path)
    path.write_bytes(content[: content.rindex(b"moov") - 4])
    assert is_cut_short(path)


def boxes(*parts: tuple[bytes, int, int]) -> bytes:
    """Return boxes of a type, a stated length and a number of zero bytes."""
    return b"".join(length.to_bytes(4, "big") + kind + bytes(count) for kind, length, count in parts)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", False),
        (b"text", False),
        (boxes((b"ftyp", 8, 0), (b"moov", 8, 0), (b"mdat", 0, 50)), False),  # up to the end of the file
        (boxes((b"ftyp", 8, 0), (b"mdat", 0, 50)), True),  # as a recorder leaves it until it stops
        (boxes((b"moov", 8, 0), (b"mdat", 1, 0)) + (20).to_bytes(8, "big") + bytes(4), False),
        (boxes((b"moov", 8, 0), (b"mdat", 1, 0)) + (21).to_bytes(8, "big") + bytes(4), True),
        (boxes((b"moov", 8, 0), (b"mdat", 4, 50)), True),  # shorter than its own head
        (complete.EBML + bytes(9) + complete.SEGMENT + b"\x84" + bytes(4), False),
        (complete.EBML + bytes(9) + complete.SEGMENT + b"\x85" + bytes(4), True),
        (complete.EBML + bytes(9) + complete.SEGMENT + b"\x01" + 7 * b"\xff" + bytes(4), False),  # not declared
        (complete.EBML + bytes(9) + complete.SEGMENT + b"\x00", False),
        (complete.EBML + bytes(9) + complete.SEGMENT, False),
        (b"RIFF" + 4 * b"\xff" + b"WAVE", False),
        (b"RIFF" + (4).to_bytes(4, "little") + b"WAVE", False),
        (b"RIFF" + (5).to_bytes(4, "little") + b"WAVE", True),
    ],
)
def test_declared_sizes(tmp_path: Path, content: bytes, expected: bool) -> None:
    path = tmp_path / "clip"
    path.write_bytes(content)
    assert is_cut_short(path) is expected


def test_reading_is_bounded_and_missing_files_are_not_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counted(io.BytesIO):
        reads = 0

        def read(self, *size: int) -> bytes:
            Counted.reads += 1
            return super().read(*size)

    monkeypatch.setattr(complete, "MAX_BOXES", 100)
    assert complete.has_whole_boxes(Counted(boxes(*itertools.repeat((b"free", 8, 0), 1000))), 8000)
    assert Counted.reads == 100
    assert not is_cut_short(tmp_path / "gone.mp4")
