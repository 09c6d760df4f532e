"""Voice pseudo-fakes: seeded, of the same length and level, and changed as documented."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.pseudo_fakes.voice.families import VOICE_FAKES
from dataset.pseudo_fakes.voice.post_process import CODECS, post_process, recode
from dataset.pseudo_fakes.voice.soundtrack import SHIFT_S, shift, splice, swap
from utils.features.voice import VOICE_RATE_HZ


def voice(seed: int = 0, seconds: float = 1.5) -> np.ndarray:
    time_s = np.arange(int(seconds * VOICE_RATE_HZ)) / VOICE_RATE_HZ
    harmonics = sum(np.sin(2 * np.pi * (120 + 20 * seed) * k * time_s) / k for k in range(1, 12))
    noise = np.random.default_rng(seed).standard_normal(len(time_s))
    return (0.1 * (1.1 + np.sin(2 * np.pi * 3 * time_s)) * harmonics + 0.01 * noise).astype(np.float32)


def spectrum(waveform: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))


@pytest.mark.parametrize("family", list(VOICE_FAKES))
def test_family_keeps_length_and_level_and_depends_on_its_seed_only(family):
    forge, waveform = VOICE_FAKES[family], voice()
    before = waveform.copy()
    first = forge(waveform, np.random.default_rng(3))
    assert first.shape == waveform.shape and first.dtype == np.float32 and np.isfinite(first).all()
    np.testing.assert_array_equal(waveform, before)
    np.testing.assert_array_equal(forge(waveform, np.random.default_rng(3)), first)
    assert not np.array_equal(forge(waveform, np.random.default_rng(4)), first)
    assert (first**2).mean() == pytest.approx((waveform**2).mean(), rel=1e-3)
    assert np.abs(first - waveform).mean() > 0.01 * np.abs(waveform).mean()


def test_phase_edits_change_the_spectrum_less_than_resynthesis():
    waveform, plain = voice(), spectrum(voice())

    def change(family: str) -> float:
        forged = [spectrum(VOICE_FAKES[family](waveform, np.random.default_rng(seed))) for seed in range(4)]
        return float(np.mean([np.abs(np.log(one + 1e-3) - np.log(plain + 1e-3)).mean() for one in forged]))

    assert change("phase_edit") < change("lpc_vocoder")


@pytest.mark.parametrize("codec", list(CODECS))
def test_re_encoding_keeps_length_and_most_of_the_spectrum(codec):
    waveform = voice()
    coded = recode(waveform, codec, 64, 48_000)
    assert coded.shape == waveform.shape
    assert np.corrcoef(spectrum(coded)[:2000], spectrum(waveform)[:2000])[0, 1] > 0.9


def test_post_processing_is_seeded_and_keeps_the_length():
    waveform = voice()
    for seed in range(4):
        first = post_process(waveform, np.random.default_rng(seed))
        assert first.shape == waveform.shape and np.isfinite(first).all()
        np.testing.assert_array_equal(post_process(waveform, np.random.default_rng(seed)), first)


def test_swap_is_the_audio_of_another_clip_at_the_level_of_this_one():
    mine, other = voice(0), 0.3 * voice(1, 0.9)
    swapped = swap(mine, other)
    assert swapped.shape == mine.shape and (swapped**2).mean() == pytest.approx((mine**2).mean(), rel=1e-3)
    assert np.corrcoef(swapped[: len(other)], other)[0, 1] > 0.999


def test_shift_is_the_same_audio_delayed_or_advanced():
    moved, seconds = shift(voice(), np.random.default_rng(0))
    assert SHIFT_S[0] <= abs(seconds) <= SHIFT_S[1]
    np.testing.assert_array_equal(np.roll(moved, -round(seconds * VOICE_RATE_HZ)), voice())


def test_splice_changes_its_span_only():
    mine = voice(0)
    spliced, (start_s, end_s) = splice(mine, voice(1), np.random.default_rng(0))
    start, end = round(start_s * VOICE_RATE_HZ), round(end_s * VOICE_RATE_HZ)
    np.testing.assert_array_equal(spliced[:start], mine[:start])
    np.testing.assert_array_equal(spliced[end:], mine[end:])
    assert np.abs(spliced[start:end] - mine[start:end]).mean() > 0.01
