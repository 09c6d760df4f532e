"""The speech synthesiser: pitch, vocal tract, lips, and pauses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dataset.demo_set.identity import draw_voice
from dataset.demo_set.resynthesis import resynthesise
from dataset.demo_set.speech import CONTROL_RATE_HZ, SAMPLE_RATE_HZ, plan_speech, synthesise


def _voice(f0_hz=120.0):
    return replace(draw_voice(np.random.default_rng(0)), f0_hz=f0_hz, f0_span=0.1, tract_scale=1.0, reverb_s=0.03)


def _f0_hz(samples):
    """Return the pitch of a voiced segment, from the peak of its autocorrelation."""
    spectrum = np.fft.rfft(samples - samples.mean(), 2 * len(samples))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)
    low, high = SAMPLE_RATE_HZ // 400, SAMPLE_RATE_HZ // 60
    return SAMPLE_RATE_HZ / (low + np.argmax(correlation[low:high]))


@pytest.mark.parametrize("f0_hz", [100.0, 200.0])
def test_pitch_follows_the_plan(f0_hz):
    voice = _voice(f0_hz)
    plan = plan_speech(voice, 4.0, np.random.default_rng(1))
    samples = synthesise(voice, plan, 0.0, 4.0)
    ratios = []
    for start in range(0, len(plan.voicing) - 10, 10):
        if plan.voicing[start : start + 10].min() > 0.95:
            piece = samples[start * SAMPLE_RATE_HZ // CONTROL_RATE_HZ :][: SAMPLE_RATE_HZ // 20]
            ratios.append(_f0_hz(piece) / plan.f0_hz[start : start + 10].mean())
    assert len(ratios) > 5
    assert np.median(ratios) == pytest.approx(1.0, abs=0.05)


def test_shorter_vocal_tract_raises_the_formants():
    voice = _voice()
    plan = plan_speech(voice, 3.0, np.random.default_rng(2))
    centroids = []
    for scale in (0.9, 1.2):
        power = np.abs(np.fft.rfft(synthesise(replace(voice, tract_scale=scale), plan, 0.0, 3.0))) ** 2
        below = slice(0, len(power) // 4)
        centroids.append(np.sum(power[below] * np.arange(len(power))[below]) / power[below].sum())
    assert centroids[1] > 1.1 * centroids[0]


def test_mouth_moves_with_the_audio():
    voice = _voice()
    plan = plan_speech(voice, 6.0, np.random.default_rng(3))
    samples = synthesise(voice, plan, 0.0, 6.0)
    hop = SAMPLE_RATE_HZ // 25
    loudness = np.sqrt(np.mean(samples[: len(samples) // hop * hop].reshape(-1, hop) ** 2, axis=1))
    opening, spread = plan.lips_at((np.arange(len(loudness)) + 0.5) / 25)
    assert np.corrcoef(loudness, opening)[0, 1] > 0.5
    assert opening.min() >= 0 and opening.max() <= 1 and np.abs(spread).max() <= 1


def test_pauses_are_silent_and_samples_are_finite():
    voice = _voice()
    plan = plan_speech(voice, 5.0, np.random.default_rng(4))
    samples = synthesise(voice, plan, 1.0, 3.0)
    assert samples.shape == (3 * SAMPLE_RATE_HZ,) and samples.dtype == np.float32
    assert np.isfinite(samples).all()
    envelope = np.sqrt(np.mean(samples.reshape(-1, SAMPLE_RATE_HZ // 50) ** 2, axis=1))
    assert envelope.min() < 0.02 * envelope.max()


def test_resynthesis_keeps_words_and_level_but_not_the_waveform():
    voice = _voice()
    plan = plan_speech(voice, 3.0, np.random.default_rng(5))
    samples = synthesise(voice, plan, 0.0, 3.0)
    copy = resynthesise(samples, SAMPLE_RATE_HZ, np.random.default_rng(0))
    hop = SAMPLE_RATE_HZ // 50
    loudness = [np.sqrt(np.mean(x.reshape(-1, hop) ** 2, axis=1)) for x in (samples, copy)]
    assert copy.shape == samples.shape
    assert np.sqrt(np.mean(copy**2)) == pytest.approx(np.sqrt(np.mean(samples**2)), rel=0.01)
    assert np.corrcoef(*loudness)[0, 1] > 0.9
    assert abs(np.corrcoef(samples, copy)[0, 1]) < 0.9
