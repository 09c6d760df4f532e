"""Unusual but playable files: undeclared durations, undecodable tracks, changing sample rates, held frames."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support import write_head
from tests.utils.media.conftest import facts_of
from utils.features.config import FeatureConfig
from utils.features.extract import clip_voice, extract_clip
from utils.media.decode import MAX_DECODE_ERRORS, ClipStream
from utils.media.display import DisplayGeometry
from utils.media.probe import probe_container
from utils.media.writer import write_clip

FACES = FeatureConfig.model_validate({"face": True})


class Unseekable(io.RawIOBase):
    """Output that cannot seek, like a pipe. Matroska then declares no duration."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.content += data
        return len(data)


def piped(source: Path, target: Path) -> Path:
    """Copy the packets of a clip into a container that declares no duration."""
    sink = Unseekable()
    with av.open(str(source)) as before, av.open(sink, "w", format="matroska") as after:
        streams = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        for packet in before.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                after.mux(packet)
    target.write_bytes(bytes(sink.content))
    return target


def test_face_feature_does_not_depend_on_a_declared_duration(tmp_path: Path) -> None:
    declared = write_head(tmp_path / "declared.mkv", 0, frames=130)
    undeclared = piped(declared, tmp_path / "undeclared.mkv")
    with av.open(str(undeclared)) as container:
        assert not container.duration
    first, second = (extract_clip(path, FACES, features=["face"]).values["face"] for path in (declared, undeclared))
    np.testing.assert_array_equal(first.pairs, second.pairs)
    np.testing.assert_array_equal(first.mouth, second.mouth)


def test_track_without_a_decoder_is_skipped(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mkv", 1.0, audio_codec="pcm_s16le", sample_rate_hz=22_050)
    both = tmp_path / "both.mkv"
    with av.open(str(path)) as before, av.open(str(both), "w") as after:
        dead = after.add_stream_from_template(before.streams.audio[0])
        alive = after.add_stream_from_template(before.streams.audio[0])
        for packet in before.demux(audio=0):
            if packet.dts is not None:
                data = bytes(packet)
                for stream in (dead, alive):
                    copy = av.Packet(data)
                    copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, stream
                    after.mux(copy)
    content = both.read_bytes()
    assert content.count(b"A_PCM/INT/LIT") == 2
    both.write_bytes(content.replace(b"A_PCM/INT/LIT", b"A_ZZZ/INT/LIT", 1))
    stream = ClipStream(both)
    n_samples = sum(len(item.samples) for item in stream)
    assert n_samples == pytest.approx(22_050, rel=0.02)
    assert any("no decoder" in note for note in stream.facts.notes)


def with_garbage_track(path: Path, target: Path) -> Path:
    """Copy a clip, with a main audio track that cannot be decoded before its own one, which has the index 2."""
    n_garbage = 0
    with av.open(str(path)) as before, av.open(str(target), "w") as after:
        pictures, garbage, sound = (
            after.add_stream_from_template(stream)
            for stream in (before.streams.video[0], before.streams.audio[0], before.streams.audio[0])
        )
        for packet in before.demux():
            if packet.size == 0:
                continue
            copies = [(bytes(packet), pictures if packet.stream.type == "video" else sound)]
            if packet.stream.type == "audio":
                copies.append((b"\x7f" * packet.size, garbage))
                n_garbage += 1
            for data, stream in copies:
                copy = av.Packet(data)
                copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, stream
                copy.is_keyframe = packet.is_keyframe
                after.mux(copy)
    assert n_garbage > MAX_DECODE_ERRORS
    return target


def test_next_audio_track_is_used_if_the_main_one_has_no_sample(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mkv", 6.0, audio_codec="aac", sample_rate_hz=48_000)
    both = with_garbage_track(path, tmp_path / "both.mkv")
    stream = ClipStream(both)
    items = list(stream)
    n_frames = sum(isinstance(item, np.ndarray) for item in items)
    assert n_frames == sum(isinstance(item, np.ndarray) for item in ClipStream(path))
    found, expected = (
        np.concatenate([item.samples for item in clip if not isinstance(item, np.ndarray)])
        for clip in (items, ClipStream(path))
    )
    np.testing.assert_array_equal(found, expected)
    assert any("audio track 2 is used" in note for note in stream.facts.notes)


def test_clip_replaced_by_one_without_its_second_track_has_no_audio(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mkv", 6.0, audio_codec="aac", sample_rate_hz=48_000)
    both = with_garbage_track(path, tmp_path / "both.mkv")
    stream = ClipStream(both)
    items = iter(stream)
    next(items)
    path.replace(both)
    assert all(isinstance(item, np.ndarray) for item in items) and not stream.facts.n_samples


def test_audio_is_complete_if_the_sample_rate_changes(tmp_path: Path) -> None:
    """Concatenate two MP3 files with different sample rates, as radio recorders do."""
    time_s = np.arange(3 * 48_000) / 48_000
    parts = []
    for rate_hz in (24_000, 48_000):
        tone = 0.3 * np.sin(2 * np.pi * 440 * time_s[: 3 * rate_hz] * 48_000 / rate_hz)
        write_clip(tmp_path / f"{rate_hz}.mp3", None, 25, tone, rate_hz, audio_codec="libmp3lame")
        parts.append((tmp_path / f"{rate_hz}.mp3").read_bytes())
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(b"".join(parts))
    voice = clip_voice(joined, FeatureConfig(), trim=False)
    assert len(voice) / 16_000 == pytest.approx(6.0, abs=0.3)
    for second in (1, 4):
        spectrum = np.abs(np.fft.rfft(voice[second * 16_000 : (second + 1) * 16_000]))
        assert spectrum.argmax() == pytest.approx(440, abs=2)


def test_held_last_frame_is_not_truncated(media, tmp_path: Path) -> None:
    path = tmp_path / "held.mkv"
    write_clip(path, list(media.frames(10)), 25, media.tone(6.0), 44_100, frame_times_s=[n / 25 for n in range(10)])
    held = extract_clip(path, FeatureConfig())
    assert held.facts.n_frames == 10 and "truncated" not in held.facts.reasons


def test_non_square_pixels_are_scaled_only_for_the_face(tmp_path: Path) -> None:
    square = write_head(tmp_path / "square.mkv", 0, video_codec="ffv1")
    squeezed = tmp_path / "squeezed.mp4"
    with av.open(str(square)) as before, av.open(str(squeezed), "w") as after:
        stream = after.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 128, "yuv420p"
        stream.sample_aspect_ratio = stream.codec_context.sample_aspect_ratio = Fraction(2)
        for frame in before.decode(video=0):
            after.mux(stream.encode(frame.reformat(64, 128, "yuv420p")))
        after.mux(stream.encode())
    found = ClipStream(squeezed, audio=False)
    shapes = {frame.shape for frame in found}
    assert found.facts.display == DisplayGeometry(pixel_aspect=2.0) and shapes == {(128, 64, 3)}
    faces = [extract_clip(path, FACES, features=["face"]).values["face"] for path in (square, squeezed)]
    difference = np.abs(faces[0].pairs.astype(int) - faces[1].pairs.astype(int)).mean()
    assert difference < 8


def test_a_stream_that_begins_in_the_middle_of_a_broadcast_is_ignored(media, tmp_path: Path) -> None:
    picture = media.clip(tmp_path / "a.ts", 1.0, video_codec="mpeg2video", waveform=None).read_bytes()
    both = media.clip(tmp_path / "b.ts", 1.0, video_codec="mpeg2video", audio_codec="mp2").read_bytes()
    # libav searches the first 5 MB for streams.
    padding = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 30_000
    path = tmp_path / "late.ts"
    path.write_bytes(picture + padding + both + padding[: 188 * 2000] + picture)
    facts = facts_of(path)
    assert (facts.status, facts.reason, facts.has_audio) == ("partial", "no_audio", False)
    assert facts.n_frames == 75 and probe_container(path).audio is None
