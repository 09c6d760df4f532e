"""One decoding pass over intact clips: frames, waveform, facts, and reason codes for what a clip lacks."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest

from tests.utils.media.conftest import CONFIG, CONTAINERS, decode, facts_of, masks_of, writing
from utils.features.extract import extract_clip, frame_histograms
from utils.features.histogram import rgb_histogram
from utils.media.decode import ClipStream
from utils.media.errors import join_reasons


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_container_decodes_completely(media, tmp_path: Path, suffix: str) -> None:
    path = media.clip(tmp_path / f"a{suffix}", 1.0, **CONTAINERS[suffix])
    frames, samples, stream = decode(path)
    assert len(frames) == stream.facts.n_frames == 25 and frames[0].shape == (48, 64, 3)
    assert stream.facts.fps == 25.0 and stream.facts.problems == set()
    assert stream.facts.duration_s == pytest.approx(1.0, abs=0.07)
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * stream.facts.rate_hz / len(samples) == pytest.approx(300, abs=3)
    # Red level and position of the square are as drawn.
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


def test_rotated_clip_is_decoded_in_its_coded_orientation(media, tmp_path: Path) -> None:
    frames, _, _ = decode(media.clip(tmp_path / "turned.mp4", rotation_deg=90))
    assert frames[0].shape == (48, 64, 3)


def test_one_frame_is_partial_and_two_are_enough(media, tmp_path: Path) -> None:
    one = extract_clip(media.clip(tmp_path / "one.mp4", frames=media.frames(1)), CONFIG)
    assert one.facts.reason == "one_frame" and one.facts.status == "partial"
    assert not one.values["covariance"].any() and masks_of(one) == {"covariance": False, "mel": True}
    assert facts_of(media.clip(tmp_path / "two.mp4", frames=media.frames(2))).status == "ok"


def test_clip_of_a_third_of_a_second_is_complete(media, tmp_path: Path) -> None:
    facts = facts_of(media.clip(tmp_path / "short.mp4", 0.3))
    assert facts.status == "ok" and facts.n_frames == 8 and facts.has_audio


def test_surround_audio_is_averaged_over_its_channels(media, tmp_path: Path) -> None:
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


def test_digital_silence_has_a_reason(media, tmp_path: Path) -> None:
    features = extract_clip(media.clip(tmp_path / "mute.mp4", waveform=np.zeros(26_460, np.float32)), CONFIG)
    assert (features.facts.status, features.facts.reason) == ("partial", "silent")
    assert features.facts.has_audio and masks_of(features) == {"covariance": True, "mel": False}


def test_variable_frame_rate_keeps_frame_count_and_duration(media, tmp_path: Path) -> None:
    times = np.cumsum(np.r_[0.0, np.tile([0.02, 0.1, 0.04], 8)]).tolist()
    path = media.clip(
        tmp_path / "vfr.mp4", frames=media.frames(25), frame_times_s=times, waveform=media.tone(times[-1] + 0.04)
    )
    facts = facts_of(path)
    assert facts.status == "ok" and facts.n_frames == 25
    assert facts.duration_s == pytest.approx(times[-1] + 0.04, abs=0.1)


def test_frame_cap_stops_decoding_with_a_reason(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mp4", 2.0)
    facts = facts_of(path, max_frames=10)
    assert (facts.n_frames, facts.reason) == (10, "too_long")
    assert facts.has_audio and facts.duration_s == pytest.approx(0.4, abs=0.03), "audio stops at the same time as video"
    assert facts_of(media.clip(tmp_path / "mute.mp4", waveform=None), max_frames=3).reason == "no_audio+too_long"
    assert facts_of(path, max_frames=50).status == "ok", "a clip of exactly the cap is not too long"


def test_video_or_audio_can_be_skipped(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mp4")
    frames, samples, _ = decode(path, audio=False)
    assert len(frames) == 15 and not len(samples)
    frames, samples, _ = decode(path, video=False)
    assert not frames and len(samples) > 20_000


def test_frames_that_are_not_needed_count_but_are_not_yielded(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mp4")
    stream, asked = ClipStream(path, audio=False), []
    stream.is_needed = lambda time_s: asked.append((stream.facts.n_frames, time_s)) or time_s == pytest.approx(0.4)
    assert len([item for item in stream if isinstance(item, np.ndarray)]) == 2, "the first frame is always yielded"
    assert [number for number, _ in asked] == list(range(1, stream.facts.n_frames))
    complete = decode(path, audio=False)[2]
    assert stream.facts == complete.facts


def test_waveform_is_written_during_extraction(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mkv", 1.0, audio_codec="pcm_s16le", sample_rate_hz=22_050)
    assert extract_clip(path, CONFIG, options=writing(tmp_path / "a.wav")).facts.has_audio
    with wave.open(str(tmp_path / "a.wav")) as stored:
        samples = np.frombuffer(stored.readframes(stored.getnframes()), "<i2") / 32767
    expected = media.tone(1.0, 22_050, tone_hz=300.0)
    assert len(samples) == len(expected)
    np.testing.assert_allclose(samples, expected, atol=2e-4)
    extract_clip(media.clip(tmp_path / "mute.mp4", waveform=None), CONFIG, options=writing(tmp_path / "none.wav"))
    assert not (tmp_path / "none.wav").exists()


def test_extraction_is_repeatable(media, tmp_path: Path) -> None:
    path = media.clip(tmp_path / "a.mp4")
    first, second = extract_clip(path, CONFIG), extract_clip(path, CONFIG)
    np.testing.assert_array_equal(first.values["covariance"], second.values["covariance"])
    assert first.values["mel"] == second.values["mel"] and first.facts == second.facts


def test_reasons_are_joined_in_a_fixed_order() -> None:
    assert join_reasons({"truncated", "no_audio"}) == "no_audio+truncated"
    assert join_reasons(set()) == ""
