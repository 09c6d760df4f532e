"""Degraded files, decoded: the degraded stream shows the parameter and the other stream is unchanged."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dataset.degradations import FAMILIES, apply, frame_filters
from dataset.degradations.families import Container
from dataset.degradations.streams import Track, multiplex, start_s
from tests.dataset.degradations.conftest import FPS, RATE_HZ, decode, degrade, packets, pictures, voice
from utils.media.decode import ClipStream
from utils.media.errors import MediaError
from utils.media.writer import write_clip

VIDEO = [name for name, family in FAMILIES.items() if family.kind == "video"]
AUDIO = [name for name, family in FAMILIES.items() if family.kind == "audio"]
PRIMING_SAMPLES = 1024


def worst(family: str) -> int:
    return FAMILIES[family].severities[-1]


def psnr_db(found: np.ndarray, expected: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((found.astype(np.float32) - expected) ** 2)))


def luma(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) @ frame_filters.REC_601_LUMA


@pytest.mark.parametrize("family", VIDEO)
def test_video_degradation_copies_the_audio(family, clip, source, degraded):
    path = degraded(family, worst(family))
    assert packets(path, "audio") == packets(clip, "audio")
    found = decode(path)
    assert np.array_equal(found.waveform, source.waveform)
    assert found.rate_hz == source.rate_hz
    assert packets(path, "video") != packets(clip, "video")


@pytest.mark.parametrize("family", AUDIO)
def test_audio_degradation_copies_the_video(family, clip, source, degraded):
    path = degraded(family, worst(family))
    assert packets(path, "video") == packets(clip, "video")
    found = decode(path)
    assert np.array_equal(found.frames, source.frames)
    assert found.fps == source.fps
    assert packets(path, "audio") != packets(clip, "audio")


@pytest.mark.parametrize("family", ["h264", "av1", "blur", "mp3", "aac", "telephone"])
def test_other_stream_of_a_webm_is_copied(family, webm, tmp_path):
    before, after = decode(webm), decode(degrade(webm, tmp_path, family, worst(family)))
    kept = "waveform" if family in VIDEO else "frames"
    assert np.array_equal(getattr(after, kept), getattr(before, kept))


@pytest.mark.parametrize(("family", "codec"), [("h264", "h264"), ("vp9", "vp9"), ("av1", "av1")])
def test_quality_and_size_fall_with_the_crf(family, codec, source, degraded):
    paths = [degraded(family, severity) for severity in (1, 2, 3, 4, 5)]
    quality_db = [psnr_db(decode(path).frames, source.frames) for path in paths]
    sizes = [sum(map(len, packets(path, "video"))) for path in paths]
    assert all(np.diff(quality_db) < 0), quality_db
    # Above CRF 36, headers dominate the size of a clip this small.
    assert sizes[0] > 1.2 * sizes[2], sizes
    assert quality_db[0] > 30 and quality_db[0] - quality_db[-1] > 5
    with av.open(str(paths[0])) as container:
        assert codec in container.streams.video[0].codec_context.codec.canonical_name


def test_intermediate_encoding_is_visually_lossless(source, degraded):
    found = decode(degraded("reencode_video", 0))
    assert psnr_db(luma(found.frames), luma(source.frames)) > 42
    # Frame features are computed from histograms, so a change of the mean grey level would change them.
    assert np.abs((luma(found.frames) - luma(source.frames)).mean()) < 0.25
    assert np.array_equal(decode(degraded("reencode_audio", 0)).waveform, np.round(source.waveform * 32768) / 32768)


@pytest.mark.parametrize("family", ["down_up", "blur", "brightness", "contrast", "saturation", "crop"])
def test_file_contains_the_filtered_frames(family, source, degraded):
    filter_frame = getattr(frame_filters, family)
    for severity in (1, 5):
        expected = np.array([filter_frame(frame, FAMILIES[family].levels[severity - 1]) for frame in source.frames])
        found = decode(degraded(family, severity)).frames
        assert found.shape == expected.shape
        assert psnr_db(luma(found), luma(expected)) > 40


def test_brightness_contrast_saturation_and_noise_match_their_parameters(source, degraded):
    before = luma(source.frames)
    brighter = luma(decode(degraded("brightness", 3)).frames)
    assert (brighter - before).mean() == pytest.approx(48, abs=1)
    flatter = luma(decode(degraded("contrast", 5)).frames)
    assert flatter.std() / before.std() == pytest.approx(0.35, abs=0.02)
    grey = decode(degraded("saturation", 5)).frames.astype(int)
    assert np.ptp(grey, axis=3).mean() < 3 < np.ptp(source.frames.astype(int), axis=3).mean()
    noisy = luma(decode(degraded("noise", 4)).frames)
    expected = 20 * np.sqrt((frame_filters.REC_601_LUMA**2).sum())
    assert (noisy - before).std() == pytest.approx(expected, rel=0.15)


def test_file_contains_the_dropped_blocks(source, degraded):
    change = np.abs(luma(decode(degraded("block_drop", 4)).frames) - luma(source.frames))
    grey_already = (np.abs(luma(source.frames) - frame_filters.MID_GREY) < 8).mean()
    assert (change > 8).mean() == pytest.approx(0.2 * (1 - grey_already), abs=0.04)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_frame_rate_changes_and_duration_does_not(severity, source, degraded):
    factor = FAMILIES["frame_rate"].levels[severity - 1]
    found = decode(degraded("frame_rate", severity))
    assert found.fps == pytest.approx(FPS * factor, rel=1e-3)
    assert len(found.frames) == np.ceil(len(source.frames) * factor)
    assert len(found.frames) / found.fps == pytest.approx(len(source.frames) / FPS, abs=1 / found.fps)
    last_due = int((len(found.frames) - 1) / factor + 1e-6)
    assert psnr_db(luma(found.frames[-1]), luma(source.frames[last_due])) > 36


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_remux_keeps_every_frame_and_sample(severity, clip, source, degraded):
    path = degraded("remux", severity)
    assert path.suffix != ".mp4" or b"moof" in path.read_bytes()
    found = decode(path)
    assert np.array_equal(found.frames, source.frames)
    # Containers without an edit list also play the encoder's priming samples, which the MP4 skips.
    priming = len(found.waveform) - len(source.waveform)
    assert priming in (0, PRIMING_SAMPLES)
    assert np.array_equal(found.waveform[priming:], source.waveform)
    assert [len(packet) for packet in packets(path, "audio")][1:-1] == [
        len(packet) + (7 if path.suffix == ".ts" else 0) for packet in packets(clip, "audio")
    ][1:-1]


def test_remux_uses_matroska_if_the_container_lacks_the_codec(webm, tmp_path):
    before = decode(webm)
    for severity in (1, 4, 5):
        path = degrade(webm, tmp_path, "remux", severity)
        after = decode(path)
        assert path.suffix == ".mkv"
        assert np.array_equal(after.frames, before.frames) and np.array_equal(after.waveform, before.waveform)


def test_random_degradations_depend_on_the_seed(clip, tmp_path):
    for family in ("audio_noise", "block_drop"):
        files = []
        for number, seed in enumerate((1, 1, 2)):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            files.append(degrade(clip, tmp_path / str(number), family, 3, seed=seed).read_bytes())
        assert files[0] == files[1] != files[2]


@pytest.mark.parametrize("family", ["none", "blur", "mp3", "remux", "offset", "frame_rate"])
def test_clip_with_one_stream_gains_no_other(family, tmp_path):
    write_clip(tmp_path / "mute.mp4", pictures(8), FPS)
    write_clip(tmp_path / "blind.mp4", None, waveform=voice(0.5, 16_000), sample_rate_hz=16_000)
    mute = decode(degrade(tmp_path / "mute.mp4", tmp_path, family, worst(family)))
    assert len(mute.frames) > 0 and not len(mute.waveform)
    blind = decode(degrade(tmp_path / "blind.mp4", tmp_path, family, worst(family)))
    assert not len(blind.frames) and len(blind.waveform) > 0


@pytest.mark.parametrize("family", ["h264", "vp9", "blur", "crop"])
def test_odd_sides_are_kept(family, tmp_path):
    write_clip(tmp_path / "odd.mp4", pictures(4, 65, 83), FPS, pix_fmt="yuv444p")
    found = decode(degrade(tmp_path / "odd.mp4", tmp_path, family, 1)).frames
    assert found.shape[1:3] == ((60, 78) if family == "crop" else (65, 83))


def displayed(path: Path) -> np.ndarray:
    """Return the first frame as a player displays it."""
    stream = ClipStream(path, audio=False)
    frame = next(iter(stream))
    return stream.facts.display.apply(frame).copy()


@pytest.mark.parametrize("family", ["h264", "mp3", "remux"])
@pytest.mark.parametrize("geometry", ["rotated", "squeezed"])
def test_degraded_clip_is_shown_upright_with_square_pixels(geometry, family, tmp_path):
    source = tmp_path / f"{geometry}.mp4"
    if geometry == "rotated":
        write_clip(source, pictures(4), FPS, voice(0.3, RATE_HZ), RATE_HZ, rotation_deg=90)
    else:
        with av.open(str(source), "w") as target:
            stream = target.add_stream("libx264", rate=FPS)
            stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
            stream.sample_aspect_ratio = stream.codec_context.sample_aspect_ratio = Fraction(2)
            for frame in pictures(4):
                target.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            target.mux(stream.encode())
    original, found = displayed(source), displayed(degrade(source, tmp_path, family, 1))
    assert found.shape == original.shape == ((128, 96, 3) if geometry == "rotated" else (96, 256, 3))
    assert psnr_db(luma(found), luma(original)) > 25


def test_late_start_of_a_stream_is_preserved(clip, tmp_path):
    multiplex(tmp_path / "late.mkv", [Track(clip, "video", 0.4), Track(clip, "audio")], Container(".mkv"))
    assert start_s(tmp_path / "late.mkv", "video") == pytest.approx(0.4, abs=0.05)
    for family in ("h264", "offset"):
        path = degrade(tmp_path / "late.mkv", tmp_path, family, 1)
        for kind in ("video", "audio"):
            assert start_s(path, kind) == pytest.approx(start_s(tmp_path / "late.mkv", kind), abs=0.03)


def test_decodable_part_of_a_truncated_clip_is_degraded(clip, tmp_path):
    path = degrade(clip, tmp_path, "remux", 5)
    (tmp_path / "cut.ts").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = decode(tmp_path / "cut.ts")
    after = decode(degrade(tmp_path / "cut.ts", tmp_path, "brightness", 1))
    assert 5 < len(before.frames) < 45
    assert len(after.frames) == len(before.frames)


def test_unreadable_clips_raise_their_reason(tmp_path):
    (tmp_path / "text.mp4").write_text("no clip")
    for name, reason in (("absent.mp4", "missing_file"), ("text.mp4", "unreadable")):
        for family in ("none", "blur", "mp3", "remux"):
            with pytest.raises(MediaError) as caught:
                degrade(tmp_path / name, tmp_path, family, worst(family))
            assert caught.value.reason == reason


def test_encoder_error_gives_a_reason_and_a_full_disk_an_error(clip, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("not these frames")

    def full(*_, **__):
        raise av.error.OSError(errno.ENOSPC, "No space left on device")

    for family in ("blur", "mp3"):
        monkeypatch.setattr(apply, "write_clip", refuse)
        with pytest.raises(MediaError) as caught:
            degrade(clip, tmp_path, family, 1)
        assert caught.value.reason == apply.NOT_DEGRADED
        monkeypatch.setattr(apply, "write_clip", full)
        with pytest.raises(OSError, match="No space left"):
            degrade(clip, tmp_path, family, 1)
    assert not list(tmp_path.iterdir())


def test_no_temporary_file_is_left(clip, tmp_path):
    written = [degrade(clip, tmp_path, family, worst(family)) for family in ("blur", "mp3", "none")]
    assert sorted(tmp_path.iterdir()) == sorted(written)
