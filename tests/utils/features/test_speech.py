"""Speech features for synchronisation: time grid of the mouth, invariance to loudness, and spans without audio."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.demo_set.speech import SAMPLE_RATE_HZ as RATE_HZ
from tests.support import head_voice
from utils.features.speech import PAD, SPEECH_BANDS, log_mel, speech_of_pcm
from utils.features.waveform import to_pcm16


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return to_pcm16(head_voice(0, 6.0))


def test_shape_and_level(voice: np.ndarray) -> None:
    speech = speech_of_pcm(voice, RATE_HZ, 1.0, 50)
    assert speech is not None and speech.shape == (50 + 2 * PAD, SPEECH_BANDS) and speech.dtype == np.float32
    assert np.abs(speech.mean(axis=0)).max() < 0.5 and 0.4 < speech.std() < 1.2


def test_a_later_start_selects_later_speech(voice: np.ndarray) -> None:
    early, late = (speech_of_pcm(voice, RATE_HZ, start_s, 60) for start_s in (1.2, 1.4))
    assert early is not None and late is not None
    moved, still = early[5:].ravel(), early[:-5].ravel()
    assert np.corrcoef(moved, late[:-5].ravel())[0, 1] > 0.98
    assert np.corrcoef(still, late[:-5].ravel())[0, 1] < 0.8


def test_a_burst_appears_at_its_time() -> None:
    rng = np.random.default_rng(0)
    waveform = 1e-3 * rng.standard_normal(4 * RATE_HZ)
    waveform[2 * RATE_HZ : 2 * RATE_HZ + 400] = 0.5 * rng.standard_normal(400)
    speech = speech_of_pcm(to_pcm16(waveform), RATE_HZ, 1.0, 60)
    assert speech is not None and speech.mean(axis=1).argmax() == PAD + 25


def test_loudness_does_not_change_the_features(voice: np.ndarray) -> None:
    quiet = speech_of_pcm(to_pcm16(voice / 32767 * 0.25), RATE_HZ, 1.0, 50)
    loud = speech_of_pcm(voice, RATE_HZ, 1.0, 50)
    assert quiet is not None and loud is not None
    assert np.corrcoef(quiet.ravel(), loud.ravel())[0, 1] > 0.999


def test_the_sample_rate_hardly_changes_the_features(voice: np.ndarray) -> None:
    import soxr

    waveform = soxr.resample(voice.astype(np.float32) / 32767, RATE_HZ, 44_100)
    other, own = speech_of_pcm(to_pcm16(waveform), 44_100, 1.0, 50), speech_of_pcm(voice, RATE_HZ, 1.0, 50)
    assert other is not None and own is not None
    assert np.corrcoef(other.ravel(), own.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(("start_s", "known"), [(-0.5, slice(31, None)), (5.5, slice(None, 31))])
def test_frames_outside_the_waveform_are_at_the_band_means(voice: np.ndarray, start_s: float, known: slice) -> None:
    speech = speech_of_pcm(voice, RATE_HZ, start_s, 40)
    assert speech is not None
    inside = np.zeros(len(speech), bool)
    inside[known] = True
    assert not speech[~inside].any() and np.abs(speech[inside]).mean() > 0.1


@pytest.mark.parametrize("start_s", [-20.0, 1.0, 40.0])
def test_span_without_audio_gives_none(start_s: float) -> None:
    assert speech_of_pcm(np.zeros(4 * RATE_HZ, np.int16), RATE_HZ, start_s, 40) is None
    assert speech_of_pcm(np.zeros(0, np.int16), RATE_HZ, start_s, 40) is None
    sounding = np.zeros(4 * RATE_HZ, np.int16)
    sounding[-100:] = 900
    assert speech_of_pcm(sounding, RATE_HZ, -1.0, 40) is None


def test_only_the_span_is_read(voice: np.ndarray) -> None:
    changed = voice.copy()
    changed[5 * RATE_HZ :] = 0
    np.testing.assert_array_equal(speech_of_pcm(changed, RATE_HZ, 1.0, 50), speech_of_pcm(voice, RATE_HZ, 1.0, 50))


def test_a_steady_tone_gives_finite_spectra() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)
    assert np.isfinite(log_mel(tone)).all()
