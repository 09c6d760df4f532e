"""Hostile files: playlists, scripts and image sequences are never followed, and oversized clips are refused."""

from __future__ import annotations

import os
import shutil
import socket
import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.support import write_head
from tests.utils.media.conftest import facts_of
from utils.features.clip import ClipFacts
from utils.media import limits
from utils.media.decode import ClipStream
from utils.media.errors import MediaError
from utils.media.probe import probe_container
from utils.media.streams import has_video, open_clip

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"
DASH = (
    '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period><AdaptationSet><Representation id="1" bandwidth="1">'
    "<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>"
)
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
)
POINTERS = {
    "hls": HLS,
    "dash": DASH,
    "concat": "ffconcat version 1.0\nfile {target}\n",
    "sdp": SDP,
    "asx": '<ASX version="3.0"><Entry><Ref href="{target}"/></Entry></ASX>',
    "pls": "[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "asf_reference": "[Reference]\r\nRef1={target}\r\n",
    "smil": '<smil xmlns="http://www.w3.org/ns/SMIL"><body><video src="{target}"/></body></smil>',
    "xspf": '<playlist version="1" xmlns="http://xspf.org/ns/0/"><track><location>{target}</location></track></playlist>',
    "smooth_streaming": '<SmoothStreamingMedia MajorVersion="2"><StreamIndex Url="{target}"/></SmoothStreamingMedia>',
    "imf": '<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">{target}</CompositionPlaylist>',
}
REFUSED = ClipFacts("failed", "refused_format")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a clip to which other files point."""
    return write_head(tmp_path_factory.mktemp("target") / "target.ts", frames=5, audio=False)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".m3u8", ".mpd", ".sdp", ".smil", ".ffconcat", ".txt", ""])
@pytest.mark.parametrize("kind", POINTERS)
def test_files_that_point_to_other_files_are_refused(target: Path, tmp_path: Path, kind: str, suffix: str) -> None:
    shutil.copyfile(target, tmp_path / "target.ts")
    path = tmp_path / f"a{suffix}"
    path.write_text(POINTERS[kind].format(target="target.ts"))
    assert facts_of(path) == REFUSED
    for read in (open_clip, probe_container, has_video):
        with pytest.raises(MediaError, match="refers to other files") as caught:
            read(path)
        assert caught.value.reason == "refused_format" and "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/a.ts", "concat:target.ts|target.ts", "/etc/hostname"])
@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_other_addresses_in_playlists_are_refused(tmp_path: Path, kind: str, address: str) -> None:
    (tmp_path / "a.mp4").write_text(POINTERS[kind].format(target=address))
    assert facts_of(tmp_path / "a.mp4") == REFUSED


@pytest.mark.parametrize("prefix", ["\ufeff", "\n\n", " " * 5000])
@pytest.mark.parametrize("kind", POINTERS)
def test_playlists_with_a_disguised_start_are_not_followed(
    target: Path, tmp_path: Path, kind: str, prefix: str
) -> None:
    shutil.copyfile(target, tmp_path / "target.ts")
    path = tmp_path / "a.m3u8"
    path.write_text(prefix + POINTERS[kind].format(target="target.ts") + "\0", encoding="utf-8")
    assert facts_of(path).status == "failed"


@pytest.mark.parametrize("suffix", [".mp4", ".ram", ".m3u"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("text", ["{target}\n", "file://{target}\n", HLS])
def test_lists_of_addresses_without_a_mark_are_not_followed(
    target: Path, tmp_path: Path, text: str, encoding: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text(text.format(target=target), encoding=encoding)
    assert facts_of(path).status == "failed"


def with_external_track(clip: bytes, target: Path) -> bytes:
    """Return a QuickTime file with its index last, whose data reference is replaced by the path of another file."""
    name = str(target).encode()
    padded = name + b"\0" * (len(name) % 2)
    volume, file_name = bytes([0]) + bytes(27), bytes([len(target.name)]) + target.name.encode().ljust(63, b"\0")
    levels = struct.pack(">HH", 1, 1)
    alias = bytes(10) + volume + bytes(12) + file_name + bytes(16) + levels + bytes(16)
    alias += struct.pack(">HH", 2, len(name)) + padded + b"\xff\xff\0\0"
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    old = clip.index(b"dref") + 12
    growth = len(entry) - struct.unpack(">I", clip[old : old + 4])[0]
    content = bytearray(clip[:old] + entry + clip[old - growth + len(entry) :])
    for atom in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = content.index(atom) - 4
        content[start : start + 4] = struct.pack(">I", struct.unpack(">I", content[start : start + 4])[0] + growth)
    return bytes(content)


def test_tracks_in_other_files_are_not_opened(tmp_path: Path) -> None:
    other = write_head(tmp_path / "other.mov", 1, frames=5, audio=False)
    path = write_head(tmp_path / "a.mov", frames=5, audio=False)
    path.write_bytes(with_external_track(path.read_bytes(), other))
    # A player that follows data references reads the other file.
    with av.open(str(path), options={"enable_drefs": "1", "use_absolute_path": "1"}) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) == 5
    assert facts_of(path) == ClipFacts("failed", "unreadable")


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to a pipe", "link to a device"])
def test_files_that_are_no_regular_files_are_not_opened(tmp_path: Path, kind: str) -> None:
    path, node = tmp_path / "a.mp4", tmp_path / "node"
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "socket":
            listener.bind(str(path))
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "link to a pipe":
            os.mkfifo(node)
            path.symlink_to(node)
        else:
            path.symlink_to("/dev/zero")
        path = Path("/dev/zero") if kind == "device" else path
        assert facts_of(path) == ClipFacts("failed", "missing_file")
        for read in (open_clip, probe_container, has_video):
            with pytest.raises(MediaError) as caught:
                read(path)
            assert caught.value.reason == "missing_file"


@pytest.mark.parametrize(
    "format_name", ["hls", "dash", "concat", "sdp", "rtsp", "image2", "lavfi", "ffmetadata", "webvtt"]
)
def test_libav_may_not_use_formats_that_open_other_files(format_name: str) -> None:
    assert format_name not in limits.FORMATS


def test_image_sequences_are_refused(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"a{index}.jpg"), np.full((64, 64, 3), 40 * index, np.uint8))
    for pattern in ("a%d.jpg", "a*.jpg"):
        (tmp_path / pattern).write_bytes((tmp_path / "a0.jpg").read_bytes())
        assert facts_of(tmp_path / pattern) == REFUSED, pattern
    assert facts_of(tmp_path / "a0.jpg").n_frames == 1


@pytest.mark.parametrize(
    "name",
    [
        "concat:a.mp4",
        "http:a.mp4",
        "data:,a.mp4",
        "subfile,,start,0,end,0,,:a.mp4",
        "file:a.mp4",
        "pipe:0",
        "-i.mp4",
        "--help",
        "a%d.mp4",
        "a|b.mp4",
        "crypto+file:a.mp4",
    ],
)
def test_names_like_addresses_or_options_are_file_names(media, tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    media.clip(tmp_path / "source.mp4").rename(tmp_path / name)
    assert facts_of(Path(name)).status == "ok"
    (tmp_path / name).unlink()
    assert facts_of(Path(name)) == ClipFacts("failed", "missing_file")


def test_clips_are_written_to_the_named_file(media, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    media.clip(Path("http:a.mp4"))
    assert facts_of(tmp_path / "http:a.mp4").status == "ok"


def refusal_of(path: Path) -> str:
    """Return the message with which a clip is refused for its size."""
    assert facts_of(path) == ClipFacts("failed", "over_limit")
    with pytest.raises(MediaError) as caught:
        open_clip(path)
    assert caught.value.reason == "over_limit"
    return str(caught.value)


def y4m(width: int, height: int, rate: str = "25:1") -> bytes:
    return f"YUV4MPEG2 W{width} H{height} F{rate} Ip A1:1 C420jpeg\nFRAME\n".encode() + bytes(64)


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (20_000, 16)])
def test_large_frames_are_refused(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.y4m").write_bytes(y4m(width, height))
    assert f"{width} x {height} pixels" in refusal_of(tmp_path / "a.y4m")


def test_a_gif_with_a_large_canvas_is_refused(tmp_path: Path) -> None:
    canvas = b"GIF89a" + struct.pack("<HH", 10_000, 10_000) + b"\x80\x00\x00" + bytes(6)
    image = b"," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\x00\x02\x02D\x01\x00;"
    (tmp_path / "a.gif").write_bytes(canvas + image)
    assert "10000 x 10000 pixels" in refusal_of(tmp_path / "a.gif")


def test_frames_that_grow_within_a_stream_are_not_decoded(tmp_path: Path) -> None:
    small = cv2.imencode(".jpg", np.full((64, 64, 3), 90, np.uint8))[1].tobytes()
    sizes = small.index(b"\xff\xc0") + 5
    large = small[:sizes] + struct.pack(">HH", 10_000, 10_000) + small[sizes + 4 :]
    (tmp_path / "a.mjpeg").write_bytes(small * 5 + large + small)
    frames = [frame.shape for frame in ClipStream(tmp_path / "a.mjpeg", audio=False)]
    assert set(frames) == {(64, 64, 3)}
    assert "truncated" in facts_of(tmp_path / "a.mjpeg").reason


def test_an_implausible_frame_rate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.y4m").write_bytes(y4m(16, 16, "1000000:1") + bytes(320))
    assert "1000000 frames per second" in refusal_of(tmp_path / "a.y4m")


def test_a_slow_motion_clip_is_accepted(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mp4", frames=media.frames(30), fps=960)
    assert facts_of(path).fps == 960


def test_a_long_declared_duration_is_refused(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mkv", frames=media.frames(3), frame_times_s=[0.0, 60_000.0, 120_000.0])
    assert "a duration of" in refusal_of(path)


def test_many_streams_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(limits.MAX_STREAMS + 1)]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 80), np.int16), format="s16", layout="mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
    assert f"more than {limits.MAX_STREAMS} streams" in refusal_of(path)


def test_many_audio_channels_are_refused(tmp_path: Path) -> None:
    channels = 200
    form = struct.pack("<HHIIHH", 1, channels, 8000, 8000 * 2 * channels, 2 * channels, 16)
    data = bytes(2 * channels * 80)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert "200 audio channels" in refusal_of(tmp_path / "a.wav")


def test_the_number_of_packets_is_limited(media, tmp_path: Path, monkeypatch) -> None:
    path = media.clip(tmp_path / "a.mp4")
    monkeypatch.setattr(limits, "MAX_PACKETS", 10)
    assert facts_of(path) == ClipFacts("failed", "over_limit")
    with pytest.raises(MediaError, match="more than 10 packets"):
        probe_container(path)
