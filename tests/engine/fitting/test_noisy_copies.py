"""Copies of labelled voices in noise and after noise suppression, in the fit of the synthetic-speech expert."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.pseudo_fakes.voice import noise_suppression
from engine.fitting.synthetic_speech import SpeechTask, SyntheticSpeechFitter, read_speech, store_speech
from tests.support import FEATURE_CONFIG, tiny_config
from utils.cache import content_key
from utils.errors import UsageError
from utils.features.voice import VOICE_RATE_HZ
from utils.media.writer import write_clip


def test_missing_packages_are_reported_before_decoding(tmp_path, monkeypatch) -> None:
    noise_suppression.rnnoise.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    experts = {"synthetic_speech": {"weights": "none", "noise_suppression": "package"}}
    with pytest.raises(UsageError, match="noise_suppression=none"):
        SyntheticSpeechFitter.check(tiny_config(tmp_path, model={"name": "av_experts", "experts": experts}))


@pytest.mark.parametrize(("noisy", "expected"), [(True, 3), (False, 1)])
def test_noisy_copies_are_added_to_the_processed_ones(tmp_path, monkeypatch, noisy: bool, expected: int) -> None:
    monkeypatch.setattr("engine.fitting.synthetic_speech.noisy_voices", lambda voice, rng: [voice, voice[::-1].copy()])
    path = tmp_path / "voice.wav"
    wave = 0.1 * np.random.default_rng(0).standard_normal(2 * VOICE_RATE_HZ)
    write_clip(path, None, 25, wave, VOICE_RATE_HZ, audio_codec="pcm_s16le")
    task = SpeechTask("a", path, content_key(path), 1, noisy, FEATURE_CONFIG, "none", 0, tmp_path)
    assert store_speech(task) == ""
    assert len(read_speech(task.cache_path).processed) == expected
