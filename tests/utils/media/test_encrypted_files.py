"""Encrypted clips: an encrypted track is not decoded, and the reason says so."""

from __future__ import annotations

import av
import pytest

from engine.evidence.soundtrack import write_soundtrack
from tests.support import write_head
from tests.utils.media.conftest import facts_of
from utils.features.clip import ClipFacts

ENCRYPTION = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}
SAMPLE_ENTRIES = {"video": (b"encv", b"avc1"), "audio": (b"enca", b"mp4a")}
PROTECTION_BOXES = (b"sinf", b"senc", b"saiz", b"saio")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_head(tmp_path_factory.mktemp("plain") / "clip.mp4", frames=20)


@pytest.fixture
def encrypted(plain, tmp_path):
    """Write an encrypted copy of a clip."""
    path = tmp_path / "encrypted.mp4"
    with av.open(str(plain)) as source, av.open(str(path), "w", options=ENCRYPTION) as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return path


def packets(path, kind):
    """Return the position and the content of the packets of a stream."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(packet.pos, bytes(packet)) for packet in container.demux(stream) if packet.size]


def decrypt(path, plain, kind):
    """Replace an encrypted stream by its original."""
    content = bytearray(path.read_bytes())
    for (position, _), (_, original) in zip(packets(path, kind), packets(plain, kind), strict=True):
        content[position : position + len(original)] = original
    encrypted, entry = SAMPLE_ENTRIES[kind]
    start = content.index(encrypted)
    content[start : start + 4] = entry
    for box in PROTECTION_BOXES:
        found = content.index(box, start)
        content[found : found + 4] = b"free"
    path.write_bytes(content)


def test_encrypted_clip_is_not_decoded(encrypted, tmp_path):
    assert facts_of(encrypted) == ClipFacts("failed", "encrypted")
    assert write_soundtrack(encrypted, tmp_path / "sound.wav") == 0


def test_other_track_of_a_partly_encrypted_clip_is_decoded(encrypted, plain):
    decrypt(encrypted, plain, "audio")
    facts = facts_of(encrypted)
    assert (facts.status, facts.reason, facts.n_frames, facts.has_audio) == ("partial", "encrypted+no_video", 0, True)


def test_video_with_an_encrypted_soundtrack_is_decoded(encrypted, plain):
    decrypt(encrypted, plain, "video")
    facts = facts_of(encrypted)
    assert (facts.status, facts.reason, facts.n_frames) == ("partial", "encrypted+no_audio", 20)
