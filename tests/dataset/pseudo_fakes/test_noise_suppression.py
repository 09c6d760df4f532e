"""Voices in noise and after noise suppression."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.pseudo_fakes.voice import noise_suppression
from dataset.pseudo_fakes.voice.noise_suppression import (
    NOISE_DB,
    SUPPRESSORS,
    VOICE_RMS,
    noisy_voices,
    require_suppressors,
)
from utils.errors import UsageError
from utils.features.voice import VOICE_RATE_HZ


def bursts() -> np.ndarray:
    """Return two seconds (S,) of harmonic bursts with pauses."""
    time_s = np.arange(2 * VOICE_RATE_HZ) / VOICE_RATE_HZ
    tone = sum(np.sin(2 * np.pi * 150 * harmonic * time_s) / harmonic for harmonic in range(1, 12))
    return tone * (np.sin(2 * np.pi * 2 * time_s) > 0)


def installed() -> bool:
    try:
        require_suppressors()
    except UsageError:
        return False
    return True


def test_noise_is_added_at_the_stated_level_and_copies_keep_the_length(monkeypatch) -> None:
    suppressors = {"none": lambda samples: samples, "one sample short": lambda samples: samples[:-3]}
    monkeypatch.setattr(noise_suppression, "SUPPRESSORS", suppressors)
    voice = bursts()
    for seed in range(5):
        noisy, unchanged, shortened = noisy_voices(voice, np.random.default_rng(seed))
        for copy in (noisy, unchanged, shortened):
            assert copy.shape == voice.shape and copy.dtype == np.float32
        for copy in (noisy, unchanged):
            noise = copy - VOICE_RMS * voice / np.sqrt((voice**2).mean())
            level_db = 20 * np.log10(VOICE_RMS / np.sqrt((noise**2).mean()))
            assert NOISE_DB[0] - 0.1 <= level_db <= NOISE_DB[1] + 0.3, "resampling removes a little of the noise"


def test_the_seed_determines_the_copies(monkeypatch) -> None:
    monkeypatch.setattr(noise_suppression, "SUPPRESSORS", {"none": lambda samples: samples})
    once, again, other = (noisy_voices(bursts(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(once, again) and not np.array_equal(once, other)


@pytest.mark.skipif(not installed(), reason="requirements-noise.txt is not installed")
@pytest.mark.parametrize("name", SUPPRESSORS)
def test_a_suppressor_removes_noise_from_pauses(name: str) -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(3 * noise_suppression.SUPPRESSOR_RATE_HZ).astype(np.float32)
    cleaned = SUPPRESSORS[name](noise)
    assert cleaned.shape == noise.shape
    half = len(noise) // 2
    assert cleaned[half:].std() < 0.3 * noise[half:].std()
