"""What one pass over a clip finds, on ordinary, odd and broken files; every file ends as facts with a reason."""

from __future__ import annotations

import io
import os
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from dataset.batch import InputLayout
from utils.features.clip import ClipFacts, ClipFeatures
from utils.features.config import FeatureConfig
from utils.features.extract import ExtractionOptions, extract_clip, frame_histograms
from utils.features.histogram import rgb_histogram
from utils.media.decode import ClipStream
from utils.media.errors import MediaError, join_reasons
from utils.media.mono import AudioBlock
from utils.media.streams import open_clip, video_stream

CONFIG = FeatureConfig()
CONTAINERS: dict[str, dict[str, Any]] = {
    ".mp4": {},
    ".mov": {},
    ".mkv": {},
    ".webm": {"video_codec": "libvpx-vp9", "audio_codec": "libopus", "sample_rate_hz": 48_000},
    ".mpg": {"video_codec": "mpeg1video", "audio_codec": "mp2"},
    ".avi": {"video_codec": "mpeg4", "audio_codec": "libmp3lame"},
}


def facts_of(path: Path, **options: Any) -> ClipFacts:
    """The clip's facts; features and facts must agree on what is there."""
    features = extract_clip(path, CONFIG, options=ExtractionOptions(**options))
    covariance, mel = features.values.get("covariance"), features.values.get("mel")
    assert (covariance is not None) == (features.facts.n_frames > 0)
    assert (mel is not None) == features.facts.has_audio
    assert (features.facts.status == "ok") == (features.facts.reason == "")
    if covariance is not None:
        assert covariance.shape == (128, 128) and np.isfinite(covariance).all()
    return features.facts


def writing(path: Path) -> ExtractionOptions:
    return ExtractionOptions(output_paths={"waveform": path})


def masks_of(clip: ClipFeatures) -> dict[str, bool]:
    layout = InputLayout(CONFIG, ("covariance", "mel"))
    return {name: bool(array.mask) for name, array in layout.arrays(clip).items()}


def decode(path: Path, **options: Any) -> tuple[list[np.ndarray], np.ndarray, ClipStream]:
    stream = ClipStream(path, **options)
    frames, blocks = [], [np.empty(0, np.float32)]
    for item in stream:
        if isinstance(item, AudioBlock):
            blocks.append(item.samples)
        else:
            frames.append(item.copy())
    return frames, np.concatenate(blocks), stream


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_container_gives_all_frames_and_the_tone(media, tmp_path: Path, suffix: str) -> None:
    path = media.clip(tmp_path / f"a{suffix}", 1.0, **CONTAINERS[suffix])
    frames, samples, stream = decode(path)
    assert len(frames) == stream.facts.n_frames == 25 and frames[0].shape == (48, 64, 3)
    assert stream.facts.fps == 25.0 and stream.facts.problems == set()
    assert stream.facts.duration_s == pytest.approx(1.0, abs=0.07)
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * stream.facts.rate_hz / len(samples) == pytest.approx(300, abs=3)
    # The square's red level and its path are what was drawn.
    for index in (0, 12, 24):
        left = (index * 3) % 40
        assert frames[index][4:20, left + 4 : left + 20, 0].mean() == pytest.approx(250, abs=12)
    assert facts_of(path).status == "ok"


def test_rgb_equals_libavs_own_conversion(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "odd.mkv", 0.4, size=(45, 63), pix_fmt="yuv444p")
    frames, _, _ = decode(path)
    with av.open(str(path)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    np.testing.assert_array_equal(np.stack(frames), np.stack(expected))
    np.testing.assert_array_equal(frame_histograms(path), np.stack([rgb_histogram(frame) for frame in expected]))


@pytest.mark.parametrize(
    ("name", "options", "status", "reason", "n_frames", "has_audio"),
    [
        ("no_audio.mp4", {"waveform": None}, "partial", "no_audio", 15, False),
        ("no_video.mp4", {"frames": None}, "partial", "no_video", 0, True),
        ("wave.wav", {"frames": None, "audio_codec": "pcm_s16le"}, "partial", "no_video", 0, True),
        ("song.mp3", {"frames": None, "audio_codec": "libmp3lame"}, "partial", "no_video", 0, True),
        ("ten_bit.mp4", {"pix_fmt": "yuv420p10le"}, "ok", "", 15, True),
        ("odd_size.mp4", {"size": (37, 51), "pix_fmt": "yuv444p"}, "ok", "", 15, True),
        ("low_rate.mp4", {"sample_rate_hz": 8000}, "ok", "", 15, True),
        ("Überfall im Wald – 映画 🎬.mp4", {}, "ok", "", 15, True),
        ("two  words, and a comma.mp4", {}, "ok", "", 15, True),
        ("100%d [x] 'q' a:b.mp4", {}, "ok", "", 15, True),
        ("turned.mp4", {"rotation_deg": 90}, "ok", "", 15, True),
    ],
)
def test_unusual_clips(
    media, tmp_path: Path, name: str, options: dict, status: str, reason: str, n_frames: int, has_audio: bool
) -> None:
    facts = facts_of(media.clip(tmp_path / name, **options))
    assert (facts.status, facts.reason, facts.n_frames, facts.has_audio) == (status, reason, n_frames, has_audio)
    assert facts.duration_s == pytest.approx(0.6, abs=0.2)


def test_rotation_leaves_the_coded_orientation(media, tmp_path: Path) -> None:
    frames, _, _ = decode(media.clip(tmp_path / "turned.mp4", rotation_deg=90))
    assert frames[0].shape == (48, 64, 3)


def test_one_frame_and_two_frames(media, tmp_path: Path) -> None:
    one = extract_clip(media.clip(tmp_path / "one.mp4", frames=media.frames(1)), CONFIG)
    assert one.facts.reason == "one_frame" and one.facts.status == "partial"
    assert not one.values["covariance"].any() and masks_of(one) == {"covariance": False, "mel": True}
    assert facts_of(media.clip(tmp_path / "two.mp4", frames=media.frames(2))).status == "ok"


def test_a_third_of_a_second(media, tmp_path: Path) -> None:
    facts = facts_of(media.clip(tmp_path / "short.mp4", 0.3))
    assert facts.status == "ok" and facts.n_frames == 8 and facts.has_audio


def test_surround_sound_is_the_mean_of_its_channels(media, tmp_path: Path) -> None:
    surround = np.zeros((22_050, 6), np.float32)
    surround[:, 1] = media.tone(0.5)
    path = media.clip(tmp_path / "five_one.mkv", 0.5, waveform=surround, audio_codec="pcm_s16le")
    _, samples, stream = decode(path)
    assert stream.facts.n_samples == 22_050
    np.testing.assert_allclose(samples, surround.mean(axis=1), atol=1e-4)
    assert facts_of(path).status == "ok"


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_every_sample_format_has_the_same_scale(media, tmp_path: Path, codec: str) -> None:
    stereo = media.tone(0.2, channels=2)
    path = media.clip(tmp_path / "a.mkv", 0.2, waveform=stereo, audio_codec=codec)
    _, samples, _ = decode(path)
    np.testing.assert_allclose(samples, stereo.mean(axis=1), atol=0.005 if codec == "pcm_u8" else 1e-4)


def test_digital_silence_is_said(media, tmp_path: Path) -> None:
    features = extract_clip(media.clip(tmp_path / "mute.mp4", waveform=np.zeros(26_460, np.float32)), CONFIG)
    assert (features.facts.status, features.facts.reason) == ("partial", "silent")
    assert features.facts.has_audio and masks_of(features) == {"covariance": True, "mel": False}


def test_variable_frame_rate_counts_frames_and_keeps_the_time(media, tmp_path: Path) -> None:
    times = np.cumsum(np.r_[0.0, np.tile([0.02, 0.1, 0.04], 8)]).tolist()
    path = media.clip(
        tmp_path / "vfr.mp4", frames=media.frames(25), frame_times_s=times, waveform=media.tone(times[-1] + 0.04)
    )
    facts = facts_of(path)
    assert facts.status == "ok" and facts.n_frames == 25
    assert facts.duration_s == pytest.approx(times[-1] + 0.04, abs=0.1)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mpg", ".avi"])
def test_truncated_files_keep_what_could_be_decoded(media, tmp_path: Path, suffix: str, share: float) -> None:
    path = media.clip(tmp_path / f"a{suffix}", 2.0, **CONTAINERS[suffix])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    facts = facts_of(path)
    assert facts.status in ("partial", "failed", "ok") and facts.n_frames <= 50
    if suffix == ".mp4" and share < 0.9:
        assert (facts.status, facts.reason) == ("failed", "unreadable"), "the index lies at the end"
    if suffix in (".mkv", ".webm"):
        assert "truncated" in facts.reason if share < 0.9 else facts.n_frames >= 40
    if suffix in (".mkv", ".webm", ".mpg") and share == 0.5:
        assert 10 <= facts.n_frames < 50
    # Programme streams declare no duration: a cut one is a shorter one, whatever part of it was read.
    assert facts.reason or suffix in (".mpg", ".avi") or share == 0.9


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_truncated_with_the_index_first(media, tmp_path: Path, share: float) -> None:
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


def test_frame_cap_stops_early_and_says_so(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mp4", 2.0)
    facts = facts_of(path, max_frames=10)
    assert (facts.n_frames, facts.reason) == (10, "too_long")
    assert facts.has_audio and facts.duration_s == pytest.approx(0.4, abs=0.03), "as much sound as picture"
    assert facts_of(media.clip(tmp_path / "mute.mp4", waveform=None), max_frames=3).reason == "no_audio+too_long"
    assert facts_of(path, max_frames=50).status == "ok", "the cap itself is not too long"


GARBAGE = {
    "zero_bytes.mp4": b"",
    "text.mp4": b"video_name,target\nnot a clip at all\n" * 50,
    "random.mp4": np.random.default_rng(5).bytes(40_000),
    "zeros.mp4": bytes(40_000),
    "head_only.mp4": b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41",
    "page.mp4": b"<html><body>404 not found</body></html>",
    "playlist.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "list.mp4": b"ffconcat version 1.0\nfile /etc/hostname\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_unreadable(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(GARBAGE[name])
    assert facts_of(tmp_path / name) == ClipFacts("failed", "unreadable")


def test_things_that_are_no_files_are_missing(tmp_path: Path) -> None:
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
    # The muxer's own tag goes: a decoder reads the first one only.
    old = 10 + sum(byte << shift for byte, shift in zip(sound[6:10], (21, 14, 7, 0), strict=True))
    path.write_bytes(b"ID3\x03\x00\x00" + size + body + sound[old if sound[:3] == b"ID3" else 0 :])
    with open_clip(path) as container:
        assert len(container.streams.video) == 1, "the file does hold a picture"
        assert video_stream(container) is None
    facts = facts_of(path)
    assert (facts.status, facts.reason, facts.n_frames, facts.has_audio) == ("partial", "no_video", 0, True)


def test_a_codec_that_nobody_knows_counts_as_absent(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mp4")
    data = path.read_bytes()
    assert data.count(b"mp4a") == 1
    path.write_bytes(data.replace(b"avc1\x00\x00\x00\x00", b"zzzz\x00\x00\x00\x00"))
    facts = facts_of(path)
    assert facts.reason == "no_video" and facts.has_audio


def test_a_damaged_frame_rate_does_not_declare_years(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "slow.mp4", frames=media.frames(3), frame_times_s=[0.0, 30_000.0, 60_000.0])
    facts = facts_of(path)
    assert facts.n_frames == 3 and facts.fps == 0.0
    assert facts.duration_s < 2.0


def test_floats_that_are_not_numbers_do_not_spread(tmp_path: Path, media) -> None:
    path = media.clip(tmp_path / "a.wav", 1.0, frames=None, audio_codec="pcm_f32le")
    data = bytearray(path.read_bytes())
    data[5000:5400] = b"\xff" * 400
    path.write_bytes(data)
    features = extract_clip(path, CONFIG, options=writing(tmp_path / "out.wav"))
    assert features.facts.reason == "no_video" and masks_of(features)["mel"]
    with wave.open(str(tmp_path / "out.wav")) as stored:
        assert stored.getnframes() == pytest.approx(22050, abs=300)


def test_picture_and_sound_are_left_out_on_demand(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mp4")
    frames, samples, _ = decode(path, audio=False)
    assert len(frames) == 15 and not len(samples)
    frames, samples, _ = decode(path, video=False)
    assert not frames and len(samples) > 20_000


def test_waveform_is_written_beside_the_features(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mkv", 1.0, audio_codec="pcm_s16le", sample_rate_hz=22_050)
    assert extract_clip(path, CONFIG, options=writing(tmp_path / "a.wav")).facts.has_audio
    with wave.open(str(tmp_path / "a.wav")) as stored:
        samples = np.frombuffer(stored.readframes(stored.getnframes()), "<i2") / 32767
    expected = media.tone(1.0, 22_050, tone_hz=300.0)
    assert len(samples) == len(expected)
    np.testing.assert_allclose(samples, expected, atol=2e-4)
    extract_clip(media.clip(tmp_path / "mute.mp4", waveform=None), CONFIG, options=writing(tmp_path / "none.wav"))
    assert not (tmp_path / "none.wav").exists()


def test_features_are_the_same_each_time(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mp4")
    first, second = extract_clip(path, CONFIG), extract_clip(path, CONFIG)
    np.testing.assert_array_equal(first.values["covariance"], second.values["covariance"])
    assert first.values["mel"] == second.values["mel"] and first.facts == second.facts


def test_reasons_are_joined_in_one_order() -> None:
    assert join_reasons({"truncated", "no_audio"}) == "no_audio+truncated"
    assert join_reasons(set()) == ""
