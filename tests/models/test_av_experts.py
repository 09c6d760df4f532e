"""The fusion of experts: bounds, absent modalities, and invalid settings."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from engine.config import check_run_config
from engine.run import run_training
from models import build_model, model_config
from tests.support import WITH_FACE, WITH_VOICE, random_batch, tiny_config, tiny_model, tiny_settings, with_input
from utils.errors import UsageError


def built(**settings):
    torch.manual_seed(0)
    return build_model(tiny_model("av_experts", **settings), WITH_VOICE).eval()


def test_clip_without_audio_is_not_usable():
    assert built().usable(random_batch([True, False], [True, True])).tolist() == [True, False]


def test_expert_score_is_bounded_on_both_sides():
    model = built(bound=1.5)
    model.experts["voice"].calibrate(1e6, 0.0)
    evidence = model(random_batch([True] * 8, [True] * 8)).terms["voice"]
    most = math.log(0.5 + 0.5 * math.exp(1.5))
    assert evidence.max().item() == pytest.approx(most, abs=1e-6)
    assert evidence.min().item() == pytest.approx(math.log(0.5), abs=1e-6)


def test_padding_windows_are_ignored():
    model, batch = built(), random_batch([True] * 4, [True] * 4)
    voice = batch.inputs["voice"]
    noisy = torch.where(voice.mask[:, :, None], voice.values, torch.randn_like(voice.values))
    assert torch.equal(model(with_input(batch, "voice", values=noisy)).logit, model(batch).logit)


def test_the_config_selects_the_experts():
    with pytest.raises(ValidationError, match="unknown expert"):
        model_config({"name": "av_experts", "experts": {"smell": {}}})
    with pytest.raises(ValidationError, match="at least one"):
        model_config({"name": "av_experts", "experts": {}})
    with pytest.raises(ValidationError):
        model_config({"name": "av_experts", "experts": {"voice": {"tress": 3}}})


def test_a_run_enables_the_features_of_its_experts(tmp_path):
    settings = tiny_settings(tmp_path, model=tiny_model("av_experts", experts={"voice": {}, "sync": {}}))
    config = check_run_config(settings, where="test", check_model=True)
    assert config.features.voice and config.features.face
    assert build_model(config.model, config.features).inputs == ("voice", "mouth", "speech")


def test_gradient_training_is_rejected_with_the_fitting_command(tmp_path):
    settings = tiny_settings(tmp_path, model={"name": "av_experts"}, features={"voice": True})
    config = check_run_config(settings, where="test", check_model=True)
    with pytest.raises(UsageError, match="train_experts"):
        run_training(config)
    assert tiny_config(tmp_path).model["name"] != "av_experts"


def test_each_expert_scores_the_clips_that_have_its_input():
    features = WITH_FACE.model_copy(update={"voice": True})
    section = tiny_model("av_experts", experts={"voice": {"trees": 3}, "sync": {}, "covariance": {}})
    model = build_model(section, features).eval()
    batch = random_batch([True, True, False, False], [True, False, True, False])
    assert model.masks(batch).tolist() == [
        [True, True, False, False],
        [True, False, False, False],
        [True, False, True, False],
    ]
    assert model.usable(batch).tolist() == [True, True, True, False]
    terms = model(batch).terms
    assert terms["sync"][1:].tolist() == [0.0] * 3 and terms["covariance"][1] == 0
