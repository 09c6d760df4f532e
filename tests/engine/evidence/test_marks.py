import struct

from engine.evidence.container import file_facts
from engine.evidence.marks import C2PA_UUID, find_marks
from tests.support import write_video


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


FTYP = box(b"ftyp", b"isom")


def codes(tmp_path, content: bytes) -> list[str]:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    return [mark.code for mark in find_marks(path)]


def test_c2pa_box_is_found_behind_the_media(tmp_path):
    assert codes(tmp_path, FTYP + box(b"mdat", bytes(100)) + box(b"uuid", C2PA_UUID + bytes(20))) == ["c2pa"]
    assert codes(tmp_path, FTYP + box(b"jumb", bytes(20))) == ["jumbf"]
    assert codes(tmp_path, FTYP + box(b"uuid", bytes(16))) == []


def test_large_box_sizes_are_read(tmp_path):
    large = struct.pack(">I4sQ", 1, b"mdat", 16 + 50) + bytes(50)
    assert codes(tmp_path, FTYP + large + box(b"uuid", C2PA_UUID)) == ["c2pa"]


def test_hostile_sizes_end_the_scan(tmp_path):
    for size in (0, 1, 4, 0xFFFFFFFF):
        assert codes(tmp_path, FTYP + struct.pack(">I4s", size, b"mdat") + box(b"uuid", C2PA_UUID)[:10]) == []
    assert codes(tmp_path, FTYP * 10_000) == []


def test_mark_inside_a_file_without_boxes_is_no_box(tmp_path):
    assert codes(tmp_path, b"RIFF" + box(b"uuid", C2PA_UUID)) == []


def test_declared_algorithmic_media_is_reported(tmp_path):
    uri = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert codes(tmp_path, FTYP + box(b"uuid", uri)) == ["iptc_ai"]


def test_facts_name_both_streams_and_an_unreadable_file_has_none(tmp_path):
    facts = file_facts(write_video(tmp_path / "clip.mp4", 0))
    assert len(facts.streams) == 2 and all("examined" in title for title in facts.streams)
    assert "lavf" in [mark.code for mark in facts.marks]
    (tmp_path / "bad.mp4").write_bytes(b"junk")
    assert file_facts(tmp_path / "bad.mp4") is None
