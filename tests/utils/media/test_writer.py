"""The clip writer: a written file has the requested properties."""

from __future__ import annotations

import weakref
from fractions import Fraction

import av
import numpy as np
import pytest

from utils.media.writer import write_clip

RATE_HZ = 48_000


def moving_square(n=12, height=48, width=64):
    """Yield frames with a bright square that moves to the right."""
    for index in range(n):
        frame = np.full((height, width, 3), (40, 80, 120), np.uint8)
        frame[10:26, 2 + 3 * index : 18 + 3 * index] = (220, 60, 30)
        yield frame


def tone(seconds=0.5, channels=None, rate_hz=RATE_HZ):
    """Return a 440 Hz sine at half scale."""
    wave = (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)
    return wave if channels is None else np.repeat(wave[:, None], channels, axis=1)


def read(path):
    """Return video stream facts, frames (T, H, W, 3), frame times, audio facts and the waveform (channels, S)."""
    with av.open(str(path)) as container:
        video = container.streams.video[0] if container.streams.video else None
        audio = container.streams.audio[0] if container.streams.audio else None
        frames, times, pieces = [], [], []
        for packet in container.demux():
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    frames.append(frame.to_ndarray(format="rgb24"))
                    times.append(frame.time)
                else:
                    pieces.append(frame.to_ndarray())
        facts = video and (video.codec_context.name, video.codec_context.pix_fmt, video.average_rate)
        sound = audio and (audio.codec_context.name, audio.rate, audio.channels)
        return facts, np.array(frames), times, sound, np.concatenate(pieces, axis=1) if pieces else None


def test_written_frames_and_samples_can_be_read(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, moving_square(), 25, tone(), RATE_HZ, video_options={"crf": "10"}, audio_bit_rate=96_000)
    video, frames, times, audio, waveform = read(path)
    assert video == ("h264", "yuv420p", Fraction(25))
    assert audio == ("aac", RATE_HZ, 1)
    assert np.abs(frames.astype(int) - np.array(list(moving_square())).astype(int)).mean() < 4
    assert times == pytest.approx(np.arange(12) / 25)
    middle = waveform[0, 4800:-4800]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    ("name", "options", "codecs"),
    [
        ("clip.webm", {"video_codec": "libvpx-vp9", "audio_codec": "libopus"}, ("vp9", "opus")),
        ("clip.avi", {"video_codec": "mpeg4", "audio_codec": "libmp3lame"}, ("mpeg4", "mp3float")),
        ("clip.mpg", {"video_codec": "mpeg1video", "audio_codec": "mp2"}, ("mpeg1video", "mp2")),
        ("clip.mkv", {"audio_codec": "pcm_s16le"}, ("h264", "pcm_s16le")),
    ],
)
def test_containers_and_codecs(tmp_path, name, options, codecs):
    write_clip(tmp_path / name, moving_square(), 25, tone(channels=2), RATE_HZ, **options)
    video, frames, _, audio, _ = read(tmp_path / name)
    assert (video[0], audio[0]) == codecs and audio[2] == 2
    assert frames.shape == (12, 48, 64, 3)


def test_one_stream_alone(tmp_path):
    write_clip(tmp_path / "silent.mp4", moving_square(), 30)
    write_clip(tmp_path / "blind.mp4", None, waveform=tone(rate_hz=8000), sample_rate_hz=8000)
    assert read(tmp_path / "silent.mp4")[3] is None
    facts, frames, _, audio, _ = read(tmp_path / "blind.mp4")
    assert facts is None and len(frames) == 0 and audio == ("aac", 8000, 1)


def test_odd_size_ten_bits_and_six_channels(tmp_path):
    write_clip(tmp_path / "odd.mp4", moving_square(3, 49, 63), pix_fmt="yuv444p")
    write_clip(tmp_path / "ten.mp4", moving_square(3), pix_fmt="yuv420p10le")
    write_clip(tmp_path / "surround.mp4", moving_square(3), 25, tone(channels=6), RATE_HZ)
    assert read(tmp_path / "odd.mp4")[1].shape == (3, 49, 63, 3)
    assert read(tmp_path / "ten.mp4")[0][1] == "yuv420p10le"
    assert read(tmp_path / "surround.mp4")[3][2] == 6


def test_variable_frame_rate_keeps_its_times(tmp_path):
    times_s = np.cumsum([0.0, 0.04, 0.1, 0.02, 0.3, 0.04])
    write_clip(tmp_path / "clip.mp4", moving_square(6), 25, frame_times_s=times_s)
    assert read(tmp_path / "clip.mp4")[2] == pytest.approx(times_s, abs=1e-3)


@pytest.mark.skipif(not hasattr(av.video.stream.VideoStream, "set_display_rotation"), reason="this PyAV cannot rotate")
def test_rotation_is_in_the_container(tmp_path):
    write_clip(tmp_path / "clip.mp4", moving_square(2), rotation_deg=90)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 90


def test_output_is_deterministic(tmp_path):
    paths = [tmp_path / f"{index}.mp4" for index in range(6)]
    for path in paths:
        options = {"mbtree": "0"}
        write_clip(path, moving_square(), 25, tone(), RATE_HZ, video_bit_rate=200_000, video_options=options)
    assert len({path.read_bytes() for path in paths}) == 1


def test_frames_are_not_collected_in_memory(tmp_path):
    held = []

    def frames():
        earlier = []
        for _ in range(12):
            frame = np.zeros((48, 64, 3), np.uint8)
            earlier.append(weakref.ref(frame))
            yield frame
            del frame
            held.append(sum(reference() is not None for reference in earlier))

    write_clip(tmp_path / "clip.mp4", frames())
    assert len(held) == 12
    assert max(held) <= 3


@pytest.mark.parametrize(
    ("frames", "waveform"),
    [
        (None, None),
        ([], None),
        ([np.zeros((32, 32), np.uint8)], None),
        ([np.zeros((32, 32, 3), np.float32)], None),
        ([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 34, 3), np.uint8)], None),
        (None, np.zeros((100, 3), np.float32)),
    ],
)
def test_wrong_shapes_raise_an_error(tmp_path, frames, waveform):
    with pytest.raises(ValueError, match=r"needs at least|frames must be|a waveform must be"):
        write_clip(tmp_path / "clip.mp4", frames, 25, waveform, RATE_HZ)
