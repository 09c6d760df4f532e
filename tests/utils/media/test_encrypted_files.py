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
TITLE = 60 * "t"
PROTECTION_BOXES = (b"sinf", b"senc", b"saiz", b"saio")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_head(tmp_path_factory.mktemp("plain") / "clip.mp4", frames=20)


@pytest.fixture
def encrypted(plain, tmp_path):
    """Write an encrypted copy of a clip."""
    return remux(plain, tmp_path / "encrypted.mp4", ENCRYPTION)


def remux(source_path, path, options=None, tags=None):
    """Copy the packets of a clip to another file and give each stream the tags of its kind."""
    with av.open(str(source_path)) as source, av.open(str(path), "w", options=options or {}) as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for stream in streams.values():
            stream.metadata.update((tags or {}).get(stream.type, {}))
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return path


def element(identifier, content):
    """Return an EBML element of less than 127 bytes."""
    return bytes.fromhex(identifier) + bytes([0x80 | len(content)]) + content


def encrypted_matroska(plain, path, kinds):
    """Write a Matroska copy of a clip in which streams are declared to be encrypted. Their packets are intact."""
    remux(plain, path, tags={kind: {"title": TITLE} for kind in kinds})
    key = element("5035", element("47e1", b"\5") + element("47e2", 16 * b"k"))  # ContentEncryption: AES and the key
    encodings = element("6d80", element("6240", element("5032", b"\1") + element("5033", b"\1") + key))
    # In place of the name of the track, so that no size and no position changes.
    name = element("536e", TITLE.encode())
    encodings += element("ec", bytes(len(name) - len(encodings) - 2))
    content = path.read_bytes()
    assert content.count(name) == len(kinds)
    path.write_bytes(content.replace(name, encodings))
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


@pytest.mark.parametrize(
    ("kinds", "status", "reason", "n_frames"),
    [
        (("video", "audio"), "failed", "encrypted", 0),
        (("video",), "partial", "encrypted+no_video", 0),
        (("audio",), "partial", "encrypted+no_audio", 20),
    ],
)
def test_encrypted_matroska_tracks_are_not_decoded(plain, tmp_path, kinds, status, reason, n_frames):
    path = encrypted_matroska(plain, tmp_path / "clip.mkv", kinds)
    facts = facts_of(path)
    assert (facts.status, facts.reason, facts.n_frames) == (status, reason, n_frames)
    assert bool(write_soundtrack(path, tmp_path / "sound.wav")) == ("audio" not in kinds)
    with av.open(str(path)) as container:
        tags = {stream.type: dict(stream.metadata) for stream in container.streams}
    copied = facts_of(remux(path, tmp_path / "copy.mkv", tags=tags))
    assert (copied.status, copied.reason) == (status, reason)
