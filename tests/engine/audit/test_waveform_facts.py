"""Silence, loudness and bandwidth of synthetic waveforms with known values."""

from __future__ import annotations

import numpy as np
import pytest

from engine.audit.waveform_facts import FLOOR_DB, band_facts, level_facts, offset_facts, read_audio, silence_facts
from utils.media.writer import write_clip

RATE_HZ = 48_000


def noise(seconds=0.5, scale=0.1):
    return (scale * np.random.default_rng(0).standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def test_leading_and_trailing_silence():
    zeros, hiss = np.zeros(480, np.float32), np.full(960, 1e-4, np.float32)
    facts = silence_facts(np.concatenate([zeros, hiss, noise(scale=0.3), zeros, zeros]), RATE_HZ)
    leading, trailing = facts["leading silence"], facts["trailing silence"]
    assert leading == pytest.approx({"leading_digital_s": 0.01, "leading_quiet_s": 0.03}, abs=1e-3)
    assert trailing == pytest.approx({"trailing_digital_s": 0.02, "trailing_quiet_s": 0.02}, abs=1e-3)


def test_fully_silent_waveform_is_all_leading_and_trailing_silence():
    facts = silence_facts(np.zeros(4800, np.float32), RATE_HZ)
    assert set(facts["leading silence"].values()) == set(facts["trailing silence"].values()) == {0.1}


def test_loudness_and_crest_factor_of_a_sine():
    sine = 0.5 * np.sin(2 * np.pi * 480 * np.arange(RATE_HZ) / RATE_HZ)
    facts = level_facts(sine)
    assert facts["loudness"]["rms_db"] == pytest.approx(-9.03, abs=0.01)
    assert facts["crest factor"]["crest_db"] == pytest.approx(3.01, abs=0.01)
    assert level_facts(0.1 * sine)["crest factor"] == pytest.approx(facts["crest factor"], abs=1e-4)
    assert level_facts(np.zeros(8))["loudness"]["rms_db"] == FLOOR_DB


def test_band_edge_of_wide_and_narrow_noise():
    white = noise()
    spectrum = np.fft.rfft(white)
    spectrum[round(9_000 * len(white) / RATE_HZ) :] = 0
    narrow = np.fft.irfft(spectrum, len(white))
    wide_facts, narrow_facts = band_facts(white, RATE_HZ), band_facts(narrow, RATE_HZ)
    assert wide_facts["band_end_hz"] == 24_000 and narrow_facts["band_end_hz"] == pytest.approx(9_000, abs=500)
    # One third of the power of -20 dB white noise is above 16 kHz.
    assert wide_facts["above_16_khz_db"] == pytest.approx(-24.8, abs=0.5)
    assert -45 < narrow_facts["above_8_khz_db"] < -30 and narrow_facts["above_11_khz_db"] < -80


def test_no_level_above_the_nyquist_frequency():
    assert band_facts(noise(), 16_000)["above_11_khz_db"] == FLOOR_DB


def test_read_audio_decodes_the_whole_waveform(tmp_path):
    write_clip(tmp_path / "a.mkv", None, waveform=noise(), sample_rate_hz=RATE_HZ, audio_codec="pcm_s16le")
    write_clip(tmp_path / "mute.mp4", [np.zeros((32, 32, 3), np.uint8)] * 3)
    samples, rate_hz = read_audio(tmp_path / "a.mkv")
    assert rate_hz == RATE_HZ and np.abs(samples - noise()).max() < 1e-4
    assert [len(read_audio(tmp_path / "mute.mp4")[0]), read_audio(tmp_path / "mute.mp4")[1]] == [0, 0]


@pytest.mark.parametrize("offset", [0.01, -0.01, 0.0])
def test_dc_offset_is_the_mean_with_its_sign(offset):
    sine = 0.3 * np.sin(2 * np.pi * 100 * np.arange(16_000) / 16_000)
    facts = offset_facts((sine + offset).astype(np.float32))
    assert facts["offset"] == pytest.approx(offset, abs=1e-6)
    assert facts["offset_db"] == pytest.approx(-40, abs=0.01) if offset else facts["offset_db"] < -100
