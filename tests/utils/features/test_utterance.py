"""Utterances: their number, padding, and independence of level and offset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset.samples import InputLayout, make_sample, make_samples
from tests.support import FEATURE_CONFIG, write_video
from utils.features.clip import ClipFacts, ClipFeatures
from utils.features.extract import extract_clip
from utils.features.utterance import MAX_UTTERANCES, UTTERANCE_SAMPLES, UtteranceFeature, Utterances, utterances
from utils.features.voice import VOICE_RATE_HZ, VOICE_SIZE, speech_level_db, voice_features
from utils.features.waveform import Pcm, to_pcm16
from utils.media.writer import write_clip

CONFIG = FEATURE_CONFIG.with_setting("utterance", True)
INPUTS = ("utterance", "utterance_voice")


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """Return noise (S,) float32 with an amplitude modulation of 4 Hz."""
    time_s = np.arange(round(seconds * VOICE_RATE_HZ)) / VOICE_RATE_HZ
    noise = np.random.default_rng(seed).standard_normal(len(time_s))
    return (0.05 * (1.2 + np.sin(2 * np.pi * 4 * time_s)) * noise).astype(np.float32)


@pytest.mark.parametrize(("seconds", "number"), [(1, 1), (3, 1), (7, 1), (9, 2), (30, MAX_UTTERANCES)])
def test_number_of_utterances_depends_on_the_length(seconds: float, number: int) -> None:
    found = utterances(speech_like(seconds))
    assert found.waveforms.shape == (number, UTTERANCE_SAMPLES) and found.voice.shape == (number, VOICE_SIZE)
    assert found.waveforms.dtype == found.voice.dtype == np.float32
    assert np.isfinite(found.waveforms).all() and np.isfinite(found.voice).all()
    assert len(utterances(speech_like(seconds), count=1).waveforms) == 1


def test_utterances_are_in_the_middle_of_equal_parts_of_the_speech() -> None:
    speech = speech_like(11)
    spare = len(speech) - UTTERANCE_SAMPLES
    found = utterances(speech).waveforms
    assert len(found) == 2
    for excerpt, start in zip(found, (spare // 4, 3 * spare // 4), strict=True):
        shifts = [
            np.corrcoef(excerpt, speech[start + shift : start + shift + UTTERANCE_SAMPLES])[0, 1]
            for shift in (-1, 0, 1)
        ]
        assert max(shifts) > 0.999


def test_short_clip_is_padded_with_zeros() -> None:
    waveform = speech_like(1.5)
    found = utterances(waveform)
    assert found.waveforms[0, : len(waveform)].any() and not found.waveforms[0, len(waveform) :].any()
    np.testing.assert_allclose(found.voice[0], voice_features(found.waveforms[0, : len(waveform)]), atol=1e-5)


@pytest.mark.parametrize(("level_db", "present"), [(-58, True), (-62, False)])
def test_speech_below_minus_60_db_is_masked_with_a_reason(level_db: float, present: bool) -> None:
    waveform = speech_like(4)
    quiet = waveform * 10 ** ((level_db - speech_level_db(waveform)) / 20)
    pcm = Pcm(to_pcm16(quiet), VOICE_RATE_HZ)
    value = UtteranceFeature(CONFIG).derive({"waveform": pcm}, None)
    clip = ClipFeatures(ClipFacts("partial", "no_video", 4.0, has_audio=True), {"utterance": value})
    ((sample, facts),) = make_samples(0, 0.0, clip, InputLayout(CONFIG, INPUTS))
    assert sample.inputs["utterance"].mask.any() == sample.inputs["utterance_voice"].mask.any() == present
    assert (facts.status, facts.reason) == ("partial", "no_video" if present else "no_video+too_quiet")


def test_offset_and_level_change_neither_waveforms_nor_features() -> None:
    waveform = speech_like(5)
    plain = utterances(waveform)
    for changed in (waveform + np.float32(0.2), waveform - np.float32(0.05), np.float32(0.1) * waveform):
        found = utterances(changed)
        np.testing.assert_allclose(found.waveforms, plain.waveforms, atol=2e-5)
        np.testing.assert_allclose(found.voice, plain.voice, atol=2e-2)


def test_stored_offset_is_removed_from_the_clip() -> None:
    waveform = speech_like(2)
    values = []
    for offset in (0.0, 0.2):
        pcm = Pcm(to_pcm16(waveform + offset), VOICE_RATE_HZ)
        values.append(UtteranceFeature(CONFIG).derive({"waveform": pcm}, None))
    np.testing.assert_allclose(values[1].waveforms, values[0].waveforms, atol=1e-3)
    np.testing.assert_allclose(values[1].voice, values[0].voice, atol=0.05)


def test_too_short_clip_has_no_utterance() -> None:
    for waveform in (np.zeros(0, np.float32), speech_like(0.9)):
        found = utterances(waveform)
        assert found.waveforms.shape == (0, UTTERANCE_SAMPLES) and found.voice.shape == (0, VOICE_SIZE)


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_constant_waveform_has_finite_features(level: float) -> None:
    found = utterances(np.full(3 * VOICE_RATE_HZ, level, np.float32))
    assert np.isfinite(found.waveforms).all() and np.isfinite(found.voice).all()


def test_silent_clip_and_clip_without_audio_are_absent(tmp_path: Path) -> None:
    write_clip(tmp_path / "silent.wav", None, 25, np.zeros(2 * VOICE_RATE_HZ), VOICE_RATE_HZ)
    write_video(tmp_path / "mute.mp4", 0, audio=False)
    write_video(tmp_path / "tone.mp4", 0)
    found = {}
    for path in sorted(tmp_path.iterdir()):
        sample = make_sample(0, 0.0, extract_clip(path, CONFIG), InputLayout(CONFIG, INPUTS))
        assert sample.inputs["utterance"].values.shape == (MAX_UTTERANCES, UTTERANCE_SAMPLES)
        found[path.stem] = [int(sample.inputs[name].mask.sum()) for name in INPUTS]
    assert found == {"silent": [0, 0], "mute": [0, 0], "tone": [1, 1]}


def test_arrays_of_a_silent_track_are_absent() -> None:
    value = Utterances(np.zeros((1, UTTERANCE_SAMPLES), np.float32), np.zeros((1, VOICE_SIZE), np.float32))
    feature = UtteranceFeature(CONFIG)
    assert feature.to_arrays(value, ClipFacts("partial", "silent")) == dict.fromkeys(INPUTS)
    assert feature.to_arrays(None, ClipFacts("ok")) == dict.fromkeys(INPUTS)
    assert feature.to_arrays(value, ClipFacts("ok"))["utterance"] is value.waveforms


@pytest.mark.parametrize(
    ("seconds", "known", "expected"),
    [(0.8, "", "too_short"), (0.8, "silent", "silent"), (0.0, "no_audio", "no_audio"), (1.2, "", "")],
)
def test_speech_below_one_second_has_a_reason(seconds: float, known: str, expected: str) -> None:
    value = None if known == "no_audio" else utterances(speech_like(seconds))
    clip = ClipFeatures(ClipFacts("partial" if known else "ok", known, 4.0, n_frames=9), {"utterance": value})
    assert InputLayout(CONFIG, INPUTS).facts(clip).reason == expected
