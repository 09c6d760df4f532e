"""Pseudo-fakes: named, seeded, of the same length, and changed in what they claim."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.pseudo_fakes.bank import REAL, BankConfig, real_rows
from dataset.pseudo_fakes.edits import SHIFT_S, shift, splice, swap
from dataset.pseudo_fakes.post_process import CODECS, post_process, recode
from dataset.pseudo_fakes.voice import VOICE_FAKES
from utils.features.voice import VOICE_RATE_HZ, VOICE_SIZE


def recording(seed: int = 0, seconds: float = 1.5) -> np.ndarray:
    time_s = np.arange(int(seconds * VOICE_RATE_HZ)) / VOICE_RATE_HZ
    harmonics = sum(np.sin(2 * np.pi * (120 + 20 * seed) * k * time_s) / k for k in range(1, 12))
    noise = np.random.default_rng(seed).standard_normal(len(time_s))
    return (0.1 * (1.1 + np.sin(2 * np.pi * 3 * time_s)) * harmonics + 0.01 * noise).astype(np.float32)


def spectrum(waveform: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))


@pytest.mark.parametrize("family", list(VOICE_FAKES))
def test_a_family_keeps_length_and_level_and_depends_on_its_seed_alone(family):
    forge, waveform = VOICE_FAKES[family], recording()
    before = waveform.copy()
    first = forge(waveform, np.random.default_rng(3))
    assert first.shape == waveform.shape and first.dtype == np.float32 and np.isfinite(first).all()
    np.testing.assert_array_equal(waveform, before)
    np.testing.assert_array_equal(forge(waveform, np.random.default_rng(3)), first)
    assert not np.array_equal(forge(waveform, np.random.default_rng(4)), first)
    assert (first**2).mean() == pytest.approx((waveform**2).mean(), rel=1e-3)
    assert np.abs(first - waveform).mean() > 0.01 * np.abs(waveform).mean()


def test_phase_edits_leave_the_spectrum_more_alone_than_resynthesis_does():
    waveform, plain = recording(), spectrum(recording())

    def change(family: str) -> float:
        forged = [spectrum(VOICE_FAKES[family](waveform, np.random.default_rng(seed))) for seed in range(4)]
        return float(np.mean([np.abs(np.log(one + 1e-3) - np.log(plain + 1e-3)).mean() for one in forged]))

    assert change("phase_edit") < change("lpc_vocoder")


@pytest.mark.parametrize("codec", list(CODECS))
def test_encoding_keeps_length_and_most_of_the_sound(codec):
    waveform = recording()
    coded = recode(waveform, codec, 64, 48_000)
    assert coded.shape == waveform.shape
    assert np.corrcoef(spectrum(coded)[:2000], spectrum(waveform)[:2000])[0, 1] > 0.9


def test_post_processing_is_seeded_and_keeps_the_length():
    waveform = recording()
    for seed in range(4):
        first = post_process(waveform, np.random.default_rng(seed))
        assert first.shape == waveform.shape and np.isfinite(first).all()
        np.testing.assert_array_equal(post_process(waveform, np.random.default_rng(seed)), first)


def test_a_recordings_rows_say_what_they_are():
    config = BankConfig(real_copies=2, fake_copies=1)
    rows, kinds = real_rows(recording(), np.random.default_rng(0), config)
    assert rows.shape == (2 + len(VOICE_FAKES), VOICE_SIZE) and np.isfinite(rows).all()
    assert kinds == [REAL, REAL, *VOICE_FAKES]


def test_a_swap_is_the_other_sound_at_this_ones_level():
    mine, other = recording(0), 0.3 * recording(1, 0.9)
    swapped = swap(mine, other)
    assert swapped.shape == mine.shape and (swapped**2).mean() == pytest.approx((mine**2).mean(), rel=1e-3)
    assert np.corrcoef(swapped[: len(other)], other)[0, 1] > 0.999


def test_a_shift_is_the_same_sound_moved():
    moved, seconds = shift(recording(), np.random.default_rng(0))
    assert SHIFT_S[0] <= abs(seconds) <= SHIFT_S[1]
    np.testing.assert_array_equal(np.roll(moved, -round(seconds * VOICE_RATE_HZ)), recording())


def test_a_splice_changes_its_span_and_nothing_else():
    mine = recording(0)
    spliced, (start_s, end_s) = splice(mine, recording(1), np.random.default_rng(0))
    start, end = round(start_s * VOICE_RATE_HZ), round(end_s * VOICE_RATE_HZ)
    np.testing.assert_array_equal(spliced[:start], mine[:start])
    np.testing.assert_array_equal(spliced[end:], mine[end:])
    assert np.abs(spliced[start:end] - mine[start:end]).mean() > 0.01
