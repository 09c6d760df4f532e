"""Damaged, truncated and misleading files: each ends with facts and a reason code."""

from __future__ import annotations

import io
import os
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from tests.utils.media.conftest import CONFIG, CONTAINERS, facts_of, masks_of, writing
from utils.features.clip import ClipFacts
from utils.features.extract import extract_clip
from utils.media.errors import MediaError
from utils.media.streams import open_clip, video_stream


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mpg", ".avi"])
def test_decodable_part_of_a_truncated_file_is_kept(media, tmp_path: Path, suffix: str, share: float) -> None:
    path = media.clip(tmp_path / f"a{suffix}", 2.0, **CONTAINERS[suffix])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    facts = facts_of(path)
    assert facts.status in ("partial", "failed", "ok") and facts.n_frames <= 50
    if suffix == ".mp4" and share < 0.9:
        assert (facts.status, facts.reason) == ("failed", "unreadable"), "the index is at the end"
    if suffix in (".mkv", ".webm"):
        assert "truncated" in facts.reason if share < 0.9 else facts.n_frames >= 40
    if suffix in (".mkv", ".webm", ".mpg") and share == 0.5:
        assert 10 <= facts.n_frames < 50
    # Programme streams declare no duration, so a truncated one cannot be distinguished from a shorter one.
    assert facts.reason or suffix in (".mpg", ".avi") or share == 0.9


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_truncated_mp4_with_its_index_first_is_partial(media, tmp_path: Path, share: float) -> None:
    whole = media.clip(tmp_path / "whole.mp4", 2.0)
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w", options={"movflags": "faststart"}) as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    data = cut.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert facts_of(cut).status == "ok"
    start = data.index(b"mdat")
    cut.write_bytes(data[: start + int((len(data) - start) * share)])
    facts = facts_of(cut)
    assert facts.status == "partial" and "truncated" in facts.reason
    assert 0 < facts.n_frames < 50


GARBAGE = {
    "zero_bytes.mp4": b"",
    "text.mp4": b"video_name,target\nnot a clip at all\n" * 50,
    "random.mp4": np.random.default_rng(5).bytes(40_000),
    "zeros.mp4": bytes(40_000),
    "head_only.mp4": b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41",
    "page.mp4": b"<html><body>404 not found</body></html>",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_unreadable(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(GARBAGE[name])
    assert facts_of(tmp_path / name) == ClipFacts("failed", "unreadable")


def test_paths_that_are_not_files_are_missing(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "gone.mp4")
    for name in ("absent.mp4", "folder.mp4", "pipe.mp4", "dangling.mp4", "n" * 5000 + ".mp4"):
        assert facts_of(tmp_path / name) == ClipFacts("failed", "missing_file")
    with pytest.raises(MediaError) as caught:
        open_clip(tmp_path / "absent.mp4")
    assert caught.value.reason == "missing_file"


def test_cover_art_is_not_video(media, tmp_path: Path) -> None:
    path = tmp_path / "album.mp3"
    picture = io.BytesIO()
    with av.open(picture, "w", format="mjpeg") as still:
        stream = still.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        frame = av.VideoFrame.from_ndarray(next(media.frames(1, 64, 64)), format="rgb24")
        still.mux(stream.encode(frame))
        still.mux(stream.encode(None))
    media.clip(path, frames=None, audio_codec="libmp3lame")
    tag = b"\x00image/jpeg\x00\x03\x00" + picture.getvalue()
    body = b"APIC" + len(tag).to_bytes(4, "big") + b"\x00\x00" + tag
    size = bytes((len(body) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    sound = path.read_bytes()
    # Remove the tag written by the muxer, because decoders read the first tag only.
    old = 10 + sum(byte << shift for byte, shift in zip(sound[6:10], (21, 14, 7, 0), strict=True))
    path.write_bytes(b"ID3\x03\x00\x00" + size + body + sound[old if sound[:3] == b"ID3" else 0 :])
    with open_clip(path) as container:
        assert len(container.streams.video) == 1, "the file contains an image stream"
        assert video_stream(container) is None
    facts = facts_of(path)
    assert (facts.status, facts.reason, facts.n_frames, facts.has_audio) == ("partial", "no_video", 0, True)


def test_stream_with_an_unknown_codec_counts_as_absent(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mp4")
    data = path.read_bytes()
    assert data.count(b"mp4a") == 1
    path.write_bytes(data.replace(b"avc1\x00\x00\x00\x00", b"zzzz\x00\x00\x00\x00"))
    facts = facts_of(path)
    assert facts.reason == "no_video" and facts.has_audio


def test_implausible_frame_times_do_not_set_the_duration(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "slow.mp4", frames=media.frames(3), frame_times_s=[0.0, 30_000.0, 60_000.0])
    facts = facts_of(path)
    assert facts.n_frames == 3 and facts.fps == 0.0
    assert facts.duration_s < 2.0


def test_nan_samples_do_not_spread(tmp_path: Path, media) -> None:
    path = media.clip(tmp_path / "a.wav", 1.0, frames=None, audio_codec="pcm_f32le")
    data = bytearray(path.read_bytes())
    data[5000:5400] = b"\xff" * 400
    path.write_bytes(data)
    features = extract_clip(path, CONFIG, options=writing(tmp_path / "out.wav"))
    assert features.facts.reason == "no_video" and masks_of(features)["mel"]
    with wave.open(str(tmp_path / "out.wav")) as stored:
        assert stored.getnframes() == pytest.approx(22050, abs=300)
