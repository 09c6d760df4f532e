"""Downmix: the mean of the channels, or one channel if they cancel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate

from tests.support import head_voice
from utils.features.config import FeatureConfig
from utils.features.extract import clip_voice
from utils.media.decode import ClipStream
from utils.media.frames import ChannelSamples
from utils.media.mono import AudioBlock, MonoMixer
from utils.media.writer import write_clip

RATE_HZ = 16_000
VOICE = head_voice(0, 2.0)[: 2 * RATE_HZ].astype(np.float32)
CONFIG = FeatureConfig()


def mixed(channels: list[np.ndarray], names: tuple[str, ...] = ("FL", "FR"), frame: int = 1024) -> np.ndarray:
    """Return the downmix of whole channels, added in frames of the given size."""
    mixer, blocks = MonoMixer(), []
    for start in range(0, len(channels[0]), frame):
        part = [channel[start : start + frame] for channel in channels]
        blocks += list(mixer.add(ChannelSamples(part, names, RATE_HZ)))
    blocks += list(mixer.finish())
    return np.concatenate([block.samples for block in blocks])


@pytest.mark.parametrize("gain", [-1.0, -0.97, -1.02])
@pytest.mark.parametrize("frame", [160, 1024, 50_000])
def test_one_channel_is_used_if_two_cancel(gain: float, frame: int) -> None:
    louder = VOICE if abs(gain) < 1.01 else gain * VOICE
    np.testing.assert_allclose(mixed([VOICE, (gain * VOICE).astype(np.float32)], frame=frame), louder, atol=1e-6)


@pytest.mark.parametrize("other", [VOICE, 0 * VOICE, 0.3 * VOICE, np.roll(VOICE, 4000), -0.3 * VOICE])
def test_mean_is_used_if_channels_do_not_cancel(other: np.ndarray) -> None:
    other = other.astype(np.float32)
    np.testing.assert_array_equal(mixed([VOICE, other]), (VOICE + other) / np.float32(2))


def test_leading_silence_does_not_affect_the_decision() -> None:
    lead = np.zeros(3 * RATE_HZ, np.float32)
    padded = np.concatenate([lead, VOICE])
    np.testing.assert_allclose(mixed([padded, -padded]), padded, atol=1e-6)


def test_centre_channel_is_preferred_if_surround_channels_cancel() -> None:
    music = 2 * np.roll(VOICE, 9000)
    channels = [music, -music, 0.5 * VOICE, 0 * VOICE, music, -music - 0.5 * VOICE]
    names = ("FL", "FR", "FC", "LFE", "BL", "BR")
    np.testing.assert_allclose(mixed([c.astype(np.float32) for c in channels], names), 0.5 * VOICE, atol=1e-6)


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac", "libmp3lame"])
def test_clip_with_cancelling_channels_has_the_same_waveform_as_mono(tmp_path: Path, codec: str) -> None:
    voices = {}
    for name, waveform in (("mono", VOICE), ("cancelling", np.stack([VOICE, -VOICE], axis=1))):
        path = tmp_path / f"{name}.mkv"
        write_clip(path, None, 25, waveform, RATE_HZ, audio_codec=codec)
        voices[name] = clip_voice(path, CONFIG)
    length = min(len(voice) for voice in voices.values())
    first, second = voices["mono"][:length], voices["cancelling"][:length]
    # Encoders delay mono and stereo differently and may keep either channel. Compare at the best lag and sign.
    agreement = np.abs(correlate(first, second)).max() / (np.linalg.norm(first) * np.linalg.norm(second))
    assert agreement > 0.95
    assert second.std() == pytest.approx(first.std(), rel=0.05)


def test_notes_name_the_channel_that_replaces_the_mean(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_clip(path, None, 25, np.stack([VOICE, -VOICE], axis=1), RATE_HZ, audio_codec="pcm_s16le")
    stream = ClipStream(path)
    assert all(isinstance(item, AudioBlock) for item in stream)
    assert stream.facts.notes == ["the channels cancel: mono is channel 1, not the mean"]
