"""Voice features: shapes, degraded audio, and equal values from a WAV file and from the decoder."""

from __future__ import annotations

import time

import numpy as np
import pytest

from utils.features.voice import (
    MAX_WINDOWS,
    VOICE_RATE_HZ,
    VOICE_SIZE,
    voice_of_pcm,
    voice_waveform,
    window_features,
)
from utils.features.waveform import PcmBuffer, WavWriter, pcm_of_wav, to_pcm16


def speech_like(seconds: float, rate_hz: int = VOICE_RATE_HZ, seed: int = 0) -> np.ndarray:
    """Return noisy harmonics with an amplitude modulation of 4 Hz."""
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    harmonics = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 15))
    noise = np.random.default_rng(seed).standard_normal(len(time_s))
    return (0.1 * (1.1 + np.sin(2 * np.pi * 4 * time_s)) * harmonics + 0.005 * noise).astype(np.float32)


def test_one_window_per_second_up_to_the_maximum():
    for seconds, windows in ((1, 1), (2, 1), (5, 4), (30, MAX_WINDOWS)):
        features = window_features(speech_like(seconds))
        assert features.shape == (windows, VOICE_SIZE) and features.dtype == np.float32
        assert np.isfinite(features).all()


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(VOICE_RATE_HZ),
        np.zeros(0),
        np.full(3 * VOICE_RATE_HZ, 0.5),
        speech_like(0.02),
        np.clip(20 * speech_like(3), -1, 1),
        np.r_[np.zeros(VOICE_RATE_HZ), 1.0, np.zeros(VOICE_RATE_HZ)],
    ],
    ids=["silent", "empty", "constant", "short", "clipped", "click"],
)
def test_degraded_audio_has_finite_features(waveform):
    assert np.isfinite(window_features(waveform.astype(np.float32))).all()


def test_telephone_audio_has_finite_features():
    assert np.isfinite(voice_of_pcm(to_pcm16(speech_like(3, 8000)), 8000)).all()


def test_loudness_and_padding_do_not_change_the_features():
    plain = to_pcm16(speech_like(4))
    padded = np.r_[np.zeros(5000, np.int16), plain, np.zeros(90_000, np.int16)]
    np.testing.assert_array_equal(voice_of_pcm(padded, VOICE_RATE_HZ), voice_of_pcm(plain, VOICE_RATE_HZ))
    quiet = window_features(0.1 * speech_like(4))
    np.testing.assert_allclose(quiet, window_features(speech_like(4)), atol=2e-3)


def test_a_wav_file_equals_the_decoded_audio(tmp_path):
    samples = speech_like(3, 22_050)
    buffer = PcmBuffer(22_050)
    with WavWriter(tmp_path / "a.wav", 22_050) as wav:
        for block in np.array_split(samples, 7):
            wav.write(block)
            buffer.add(block)
    stored, direct = pcm_of_wav(tmp_path / "a.wav"), buffer.pcm()
    assert stored.rate_hz == direct.rate_hz == 22_050
    np.testing.assert_array_equal(stored.samples, direct.samples)
    np.testing.assert_array_equal(voice_of_pcm(stored.samples, 22_050), voice_of_pcm(direct.samples, 22_050))


def test_a_damaged_wav_file_is_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF and nothing more")
    with pytest.raises(ValueError, match="not a wav file"):
        pcm_of_wav(tmp_path / "a.wav")


def test_trimming_is_optional():
    padded = np.r_[np.zeros(800, np.int16), to_pcm16(speech_like(1))]
    assert (
        len(voice_waveform(padded, VOICE_RATE_HZ))
        < len(voice_waveform(padded, VOICE_RATE_HZ, trim=False))
        == len(padded)
    )


def test_a_seven_second_clip_takes_less_than_a_second():
    window_features(speech_like(2))
    started = time.process_time()
    window_features(speech_like(7))
    assert time.process_time() - started < 1.0


def test_less_than_a_second_of_audio_gives_no_features():
    rate_hz = 22_050
    noise = (np.random.default_rng(0).normal(size=2 * rate_hz) * 3000).astype(np.int16)
    assert voice_of_pcm(noise[: int(0.9 * rate_hz)], rate_hz).shape == (0, VOICE_SIZE)
    assert len(voice_of_pcm(noise[: int(1.1 * rate_hz)], rate_hz)) == 1
    padded = np.concatenate([noise[: int(0.5 * rate_hz)], np.zeros(rate_hz, np.int16)])
    assert len(voice_of_pcm(padded, rate_hz)) == 0
