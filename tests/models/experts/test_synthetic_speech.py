"""The synthetic-speech expert: its mask, independence of the batch, and its checkpoint."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from dataset.batch import Batch
from models import build_model, model_config
from models.experts.synthetic_speech import STATISTICS, SyntheticSpeechConfig, SyntheticSpeechExpert
from tests.support import FEATURE_CONFIG, random_batch, tiny_model, with_input
from utils.features.utterance import MAX_UTTERANCES


def fitted(vectors: int = 7, seed: int = 0) -> SyntheticSpeechExpert:
    """Return an expert with a random classifier whose kernel is wide enough that random inputs differ in score."""
    expert = SyntheticSpeechExpert(SyntheticSpeechConfig(weights="none"))
    expert.texture.start("none")
    rng = torch.Generator().manual_seed(seed)
    expert.machine.scale.fill_(0.03)
    expert.machine.step.fill_(4e-4)
    levels = torch.randint(-127, 128, (vectors, STATISTICS), generator=rng).to(torch.int8)
    expert.machine.set_vectors(levels, torch.randn(vectors, generator=rng))
    return expert


def short_batch(has_audio: list[bool], has_video: list[bool]) -> Batch:
    """Return a random batch with utterances of half a second, to save time."""
    batch = random_batch(has_audio, has_video)
    return with_input(batch, "utterance", values=batch.inputs["utterance"].values[..., :8_000])


def test_clips_with_an_utterance_are_scored() -> None:
    batch, expert = short_batch([True, False, True], [True, True, False]), fitted()
    assert expert.mask(batch).tolist() == [True, False, True]
    raw = expert.raw(batch)
    assert raw.dtype == torch.float32 and torch.isfinite(raw).all() and raw[1] == 0 and len(raw.unique()) == 3


@torch.no_grad()
def test_score_is_bit_identical_in_every_batch() -> None:
    expert, batch = fitted(), short_batch([True] * 3, [True] * 3)
    together = expert.raw(batch)
    for row in range(3):
        assert torch.equal(expert.raw(batch.select(torch.arange(3) == row)), together[row : row + 1])


@torch.no_grad()
def test_score_is_the_mean_over_utterances_and_padding_is_ignored() -> None:
    expert, batch = fitted(), short_batch([True] * 2, [True] * 2)
    utterance, voice = batch.inputs["utterance"], batch.inputs["utterance_voice"]
    assert utterance.mask.sum(dim=1).tolist() == [1, MAX_UTTERANCES]
    each = expert.machine(expert.statistics(utterance.values[1], voice.values[1]))
    raw = expert.raw(batch)
    torch.testing.assert_close(raw[1], each.mean())
    noise = torch.where(utterance.mask[..., None], utterance.values, torch.randn_like(utterance.values))
    assert torch.equal(expert.raw(with_input(batch, "utterance", values=noise)), raw)


@torch.no_grad()
def test_loaded_expert_gives_the_same_scores() -> None:
    expert, batch = fitted(), short_batch([True] * 2, [True] * 2)
    other = fitted(vectors=3, seed=1)
    other.texture.layers[0].weight.mul_(2)
    assert not torch.equal(other.raw(batch), expert.raw(batch))
    other.load_state_dict(expert.state_dict())
    assert torch.equal(other.raw(batch), expert.raw(batch))
    assert not other.training and not any(weight.requires_grad for weight in other.parameters())


def test_detector_of_the_expert_needs_audio_and_enables_its_feature() -> None:
    section = tiny_model("av_experts", experts={"synthetic_speech": {}})
    features = FEATURE_CONFIG.with_inputs(SyntheticSpeechExpert.inputs)
    assert "utterance" in features.enabled()
    model = build_model(section, features)
    assert model.inputs == ("utterance", "utterance_voice")
    assert model.usable(random_batch([True, False], [True, True])).tolist() == [True, False]


@pytest.mark.parametrize(
    "wrong", [{"weights": "hub"}, {"cost": 0}, {"gamma": -1}, {"processed_weight": -0.1}, {"c": 1}]
)
def test_invalid_settings_are_rejected(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        model_config({"name": "av_experts", "experts": {"synthetic_speech": wrong}})
