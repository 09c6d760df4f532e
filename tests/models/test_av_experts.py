"""The fusion of experts: bounds, absent modalities, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from engine.config import check_run_config
from engine.run import run_training
from models import build_model, model_config
from tests.support import FEATURE_CONFIG, WITH_VOICE, random_batch, tiny_config, tiny_model, tiny_settings
from utils.errors import UsageError


def built(**settings):
    torch.manual_seed(0)
    return build_model(tiny_model("av_experts", **settings), WITH_VOICE).eval()


def test_a_clip_without_sound_is_not_usable():
    assert built().usable(random_batch([True, False], [True, True])).tolist() == [True, False]


def test_an_experts_log_odds_are_bounded():
    model = built(bound=1.5)
    model.experts["voice"].calibrate(1e6, 0.0)
    logit = model(random_batch([True] * 4, [True] * 4)).terms["voice"]
    assert logit.abs().max() <= 1.5 and (logit.abs() == 1.5).any()


def test_windows_that_a_clip_does_not_have_are_not_counted():
    model, batch = built(), random_batch([True] * 4, [True] * 4)
    noisy = torch.where(batch.has_voice[:, :, None], batch.voice, torch.randn_like(batch.voice))
    before = model(batch).logit
    object.__setattr__(batch, "voice", noisy)
    assert torch.equal(model(batch).logit, before)


def test_experts_are_named_in_the_config():
    with pytest.raises(ValidationError, match="unknown expert"):
        model_config({"name": "av_experts", "experts": {"smell": {}}})
    with pytest.raises(ValidationError, match="at least one"):
        model_config({"name": "av_experts", "experts": {}})
    with pytest.raises(ValidationError):
        model_config({"name": "av_experts", "experts": {"voice": {"tress": 3}}})


def test_it_says_which_features_it_needs():
    with pytest.raises(UsageError, match="features.voice"):
        build_model(tiny_model("av_experts"), FEATURE_CONFIG)


def test_gradient_training_names_the_command_that_fits_it(tmp_path):
    settings = tiny_settings(tmp_path, model={"name": "av_experts"}, features={"voice": True})
    config = check_run_config(settings, where="test", check_model=True)
    with pytest.raises(UsageError, match="train_experts"):
        run_training(config)
    assert tiny_config(tmp_path).model["name"] != "av_experts"
