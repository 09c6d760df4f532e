"""Resampling in blocks compared with one-shot soxr, the clip length rule, and the written WAV file."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import soxr

from utils.features import resampling
from utils.features.resampling import MonoResampler, clip_length_samples
from utils.features.waveform import WavWriter
from utils.media.decode import StreamFacts
from utils.media.mono import AudioBlock


def noise(length: int) -> np.ndarray:
    return (0.3 * np.random.default_rng(length).standard_normal(length)).clip(-1, 1).astype(np.float32)


def in_blocks(
    samples: np.ndarray, rate_hz: int, facts: StreamFacts, *, match_clip: bool, block: int = 1024
) -> np.ndarray:
    resampler = MonoResampler(22050, facts, match_clip=match_clip)
    parts = []
    for start in range(0, len(samples), block):
        parts += resampler.feed(AudioBlock(samples[start : start + block], rate_hz))
    return np.concatenate([*parts, *resampler.finish()])


def at_16_bits(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.round(samples * 32768), -32768, 32767).astype(np.float32) / np.float32(32768)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [0.05, 1.0, 7.3])
def test_blocks_equal_one_shot_soxr(rate_hz: int, seconds: float) -> None:
    samples = noise(int(seconds * rate_hz))
    facts = StreamFacts(n_samples=len(samples), rate_hz=rate_hz)
    streamed = in_blocks(samples, rate_hz, facts, match_clip=False)
    whole = soxr.resample(at_16_bits(samples), rate_hz, 22050, quality="HQ")
    assert len(streamed) == len(whole)
    np.testing.assert_allclose(streamed, whole, atol=2e-6)


@pytest.mark.parametrize(
    ("n_frames", "n_samples", "expected"),
    [
        (75, 132_300, 132_300),  # both three seconds
        (76, 132_300, int(3.04 * 44_100)),  # the video is longer: padded
        (75, 132_480, 132_300),  # audio 4 ms longer: the step of 10 ms cuts it
        (75, 132_600, int(3.01 * 44_100)),  # audio 7 ms longer: padded to the next step
        (0, 44_100, 44_100),
    ],
)
def test_length_matches_the_clip_in_steps_of_10_ms(n_frames: int, n_samples: int, expected: int) -> None:
    facts = StreamFacts(n_frames=n_frames, n_samples=n_samples, fps=25.0 if n_frames else 0.0, rate_hz=44_100)
    assert clip_length_samples(facts) == expected
    samples = noise(n_samples)
    streamed = in_blocks(samples, 44_100, facts, match_clip=True)
    fitted = np.r_[samples[:expected], np.zeros(max(expected - n_samples, 0), np.float32)]
    whole = soxr.resample(at_16_bits(fitted), 44_100, 22050, quality="HQ")
    assert len(streamed) == len(whole)
    np.testing.assert_allclose(streamed, whole, atol=2e-6)


def test_audio_is_cut_across_the_last_block_boundary() -> None:
    n_samples = resampling.SAMPLES_PER_BLOCK + 100
    facts = StreamFacts(n_samples=n_samples, rate_hz=44_100)
    expected = clip_length_samples(facts)
    assert expected < n_samples
    streamed = in_blocks(noise(n_samples), 44_100, facts, match_clip=True, block=n_samples)
    assert len(streamed) == len(soxr.resample(np.zeros(expected, np.float32), 44_100, 22050))


def test_long_silence_is_padded_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "LONGEST_SILENCE_S", 30)
    a_year = StreamFacts(n_frames=31_536_000, fps=1.0, n_samples=8000, rate_hz=8000)
    resampler = MonoResampler(22050, a_year, match_clip=True)
    blocks = [*resampler.feed(AudioBlock(noise(8000), 8000)), *resampler.finish()]
    assert max(map(len, blocks)) <= 11 * 22050
    assert sum(map(len, blocks)) == pytest.approx(31 * 22050, abs=2)


def test_no_input_yields_no_output() -> None:
    assert list(MonoResampler(22050, StreamFacts(), match_clip=True).finish()) == []


def test_nan_samples_become_silence() -> None:
    samples = noise(5000)
    samples[100:200] = np.nan
    streamed = in_blocks(samples, 22050, StreamFacts(n_samples=5000, rate_hz=22050), match_clip=False)
    assert np.isfinite(streamed).all() and np.abs(streamed[120:180]).max() < 1e-6


def test_wav_is_mono_16_bit_with_clipped_samples(tmp_path: Path) -> None:
    samples = np.r_[noise(1000), np.float32(1.7), np.float32(-1.7)]
    with WavWriter(tmp_path / "a.wav", 22050) as writer:
        writer.write(samples[:300])
        writer.write(samples[300:])
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22050)
        stored = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    np.testing.assert_array_equal(stored, np.round(samples.clip(-1, 1) * 32767).astype(np.int16))
