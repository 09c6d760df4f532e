"""The waveform filters as pure functions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from dataset.degradations import audio_filters
from tests.dataset.degradations.conftest import voice

RATE_HZ = 16_000
FILTERS = [
    (audio_filters.add_noise, 10),
    (audio_filters.reverb, 0.4),
    (audio_filters.pitch, 2),
    (audio_filters.volume, -12),
    (audio_filters.telephone, (300, 3400)),
    (audio_filters.delay, 80),
]


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return voice(1.0, RATE_HZ)


def level_db(waveform: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(waveform.astype(np.float64) ** 2)))


def band_db(waveform: np.ndarray, rate_hz: int, low_hz: float, high_hz: float) -> float:
    """Return the power between two frequencies in dB."""
    frequency, density = scipy.signal.welch(waveform, rate_hz, nperseg=4096)
    return float(10 * np.log10(density[(frequency >= low_hz) & (frequency < high_hz)].sum() + 1e-20))


@pytest.mark.parametrize(("function", "level"), FILTERS)
def test_filters_are_pure_and_keep_length_and_type(speech, function, level):
    before = speech.copy()
    first = function(speech, RATE_HZ, level, np.random.default_rng(1))
    assert np.array_equal(speech, before)
    assert first.shape == speech.shape and first.dtype == np.float32
    assert np.array_equal(first, function(speech, RATE_HZ, level, np.random.default_rng(1)))
    assert np.abs(first).max() <= 1.0
    assert not np.allclose(first, speech, atol=1e-3)


@pytest.mark.parametrize(("function", "level"), FILTERS)
@pytest.mark.parametrize("length", [0, 1, 300])
def test_short_and_silent_waveforms_are_accepted(function, level, length):
    out = function(np.zeros(length, np.float32), RATE_HZ, level, np.random.default_rng(0))
    assert out.shape == (length,)
    assert not out.any() or np.isfinite(out).all()


@pytest.mark.parametrize("snr_db", [30, 20, 10, 5, 0])
@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_noise_has_the_stated_level_relative_to_the_clip(speech, snr_db, gain):
    clean = speech * np.float32(gain)
    noisy = audio_filters.add_noise(clean, RATE_HZ, snr_db, np.random.default_rng(0))
    assert level_db(clean) - level_db(noisy - clean) == pytest.approx(snr_db, abs=0.05)


def test_loud_noise_is_scaled_instead_of_clipped():
    loud = np.sign(voice(0.5, RATE_HZ)).astype(np.float32)
    noisy = audio_filters.add_noise(loud, RATE_HZ, 0, np.random.default_rng(0))
    gain = float(noisy @ loud / (loud @ loud))
    assert np.abs(noisy).max() == pytest.approx(1.0) and gain < 0.5
    assert level_db(gain * loud) - level_db(noisy - gain * loud) == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize("rt60_s", [0.2, 0.7])
def test_reverb_decays_in_the_stated_time(rt60_s):
    click = np.zeros(2 * RATE_HZ, np.float32)
    click[0] = 1.0
    room = audio_filters.reverb(click, RATE_HZ, rt60_s, np.random.default_rng(0)).astype(np.float64)
    lag = round(audio_filters.TAIL_LAG_S * RATE_HZ)
    tail = room[lag:]
    assert np.abs(room[1:lag]).max() < 1e-6 * room[0]
    assert level_db(room) == pytest.approx(level_db(click), abs=0.01)
    assert 20 * np.log10(room[0] / np.sqrt(np.sum(tail**2))) == pytest.approx(
        audio_filters.DIRECT_TO_REVERBERANT_DB, abs=0.1
    )
    # Schroeder's backward integration: the slope between -5 and -25 dB gives the time for 60 dB.
    decay_db = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2) + 1e-12)
    used = (decay_db < -5) & (decay_db > -25)
    slope = np.polyfit(np.flatnonzero(used) / RATE_HZ, decay_db[used], 1)[0]
    assert -60 / slope == pytest.approx(rt60_s, rel=0.1)


@pytest.mark.parametrize("semitones", [0.5, 2, 5])
def test_pitch_changes_by_the_stated_ratio_and_tempo_does_not(semitones):
    time_s = np.arange(RATE_HZ) / RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    shifted = audio_filters.pitch(tone, RATE_HZ, semitones)
    middle = shifted[4000:12_000] * np.hanning(8000)
    peak_hz = np.argmax(np.abs(np.fft.rfft(middle, 1 << 18))) * RATE_HZ / (1 << 18)
    assert peak_hz / 440 == pytest.approx(2 ** (semitones / 12), rel=0.004)
    assert len(shifted) == len(tone)


def test_volume_changes_the_level_by_the_stated_decibels(speech):
    assert level_db(audio_filters.volume(speech, RATE_HZ, -18)) - level_db(speech) == pytest.approx(-18, abs=0.01)


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 44_100])
def test_telephone_keeps_only_its_band(rate_hz):
    noise = (0.1 * np.random.default_rng(0).standard_normal(2 * rate_hz)).astype(np.float32)
    line = audio_filters.telephone(noise, rate_hz, (300, 3400))
    change = {band: band_db(line, rate_hz, *band) - band_db(noise, rate_hz, *band) for band in ((600, 2800), (20, 120))}
    assert change[600, 2800] == pytest.approx(0, abs=1.0)
    assert change[20, 120] < -25
    if rate_hz > 8000:
        assert band_db(line, rate_hz, 4300, rate_hz / 2) - band_db(noise, rate_hz, 4300, rate_hz / 2) < -40


def test_mu_law_quantises_to_8_bits_with_fine_steps_for_quiet_audio():
    ramp = np.linspace(-1, 1, 100_001, dtype=np.float32)
    coded = audio_filters._mu_law(ramp)
    assert len(np.unique(coded)) == 255
    quiet = np.abs(ramp) < 0.01
    assert np.abs(coded - ramp)[quiet].max() < 0.001
    assert np.abs(coded - ramp).max() < 0.03


@pytest.mark.parametrize("late_ms", [40, -40])
def test_delay_shifts_the_audio_and_inserts_no_silence(speech, late_ms):
    shift = round(late_ms * RATE_HZ / 1000)
    late = audio_filters.delay(speech, RATE_HZ, late_ms)
    kept, source = (late[shift:], speech[:-shift]) if shift > 0 else (late[:shift], speech[-shift:])
    assert np.array_equal(kept, source)
    filled = late[:shift] if shift > 0 else late[shift:]
    assert np.abs(filled).mean() > 0.2 * np.abs(speech).mean()
