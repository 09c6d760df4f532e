"""The container probe returns the facts that were written to the file."""

from __future__ import annotations

import numpy as np
import pytest

from utils.media.errors import MediaError
from utils.media.probe import probe_container
from utils.media.writer import write_clip

RATE_HZ = 48_000


def frames(n=20, height=32, width=48):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (height, width, 3), dtype=np.uint8) for _ in range(n)]


def noise(seconds, channels=1):
    return np.random.default_rng(1).uniform(-0.3, 0.3, (round(seconds * RATE_HZ), channels)).astype(np.float32)


def test_facts_of_an_mp4(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, frames(), 25, noise(0.83, channels=2), RATE_HZ, video_options={"g": "5", "sc_threshold": "0"})
    probe = probe_container(path)
    video, audio = probe.video, probe.audio
    assert (video.codec, video.width_px, video.height_px, video.fps) == ("h264", 48, 32, 25.0)
    assert (video.n_packets, video.n_key_packets, video.sample_format, video.tag) == (20, 4, "yuv420p", "avc1")
    assert (audio.codec, audio.profile, audio.sample_rate_hz, audio.channels) == ("aac", "LC", RATE_HZ, 2)
    assert video.duration_s == pytest.approx(0.8) and audio.duration_s == pytest.approx(0.83, abs=0.03)
    assert probe.file_bytes == path.stat().st_size
    assert probe.overhead_bytes == probe.file_bytes - video.n_bytes - audio.n_bytes > 0
    assert video.bit_rate_bps == pytest.approx(8 * video.n_bytes / 0.8)
    assert 0 < video.first_packet_bytes < video.n_bytes
    assert probe.encoder.startswith("Lavf") and "mp4" in probe.format and probe.n_streams == 2


def test_audio_minus_video_grows_with_longer_audio(tmp_path):
    gaps = []
    for extra_s in (0.0, 0.03):
        path = tmp_path / f"{extra_s}.mp4"
        write_clip(path, frames(), 25, noise(0.8 + extra_s), RATE_HZ)
        gaps.append(probe_container(path).audio_minus_video_s)
    assert gaps[1] - gaps[0] == pytest.approx(0.03, abs=0.003)


def test_duration_comes_from_packets_if_not_declared(tmp_path):
    path = tmp_path / "clip.webm"
    write_clip(path, frames(), 25, noise(0.8), RATE_HZ, video_codec="libvpx-vp9", audio_codec="libopus")
    probe = probe_container(path)
    assert (probe.video.codec, probe.audio.codec, probe.video.tag) == ("vp9", "opus", "")
    assert probe.video.duration_s == pytest.approx(0.8, abs=0.05)
    assert probe.audio.duration_s == pytest.approx(0.8, abs=0.05)


def test_clip_with_one_stream(tmp_path):
    write_clip(tmp_path / "mute.mp4", frames())
    write_clip(tmp_path / "blind.m4a", None, waveform=noise(0.5), sample_rate_hz=RATE_HZ)
    mute, blind = probe_container(tmp_path / "mute.mp4"), probe_container(tmp_path / "blind.m4a")
    assert mute.audio is None and mute.video is not None and mute.audio_minus_video_s is None
    assert blind.video is None and blind.audio is not None and blind.audio_minus_video_s is None


def test_unreadable_and_missing_files_raise_media_errors(tmp_path):
    (tmp_path / "text.mp4").write_text("not a clip")
    with pytest.raises(MediaError) as missing:
        probe_container(tmp_path / "absent.mp4")
    with pytest.raises(MediaError) as broken:
        probe_container(tmp_path / "text.mp4")
    assert (missing.value.reason, broken.value.reason) == ("missing_file", "unreadable")
