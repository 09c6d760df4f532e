"""The face expert: required features, its mask, and scores that do not depend on the batch."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from engine.fitting.face import standardise
from models import build_model, model_config
from models.experts.face import FaceConfig, FaceExpert
from tests.support import BACKBONE, WITH_FACE, random_batch, tiny_model

TINY = {"backbone": BACKBONE, "weights": "none", "place_nets": 2}


def built() -> FaceExpert:
    torch.manual_seed(0)
    return FaceExpert(FaceConfig(**TINY))


def test_clips_without_a_face_are_unusable():
    model = build_model(tiny_model("av_experts", experts={"face": TINY}), WITH_FACE)
    assert model.usable(random_batch([True, True], [True, False])).tolist() == [True, False]


def test_invalid_settings_are_rejected():
    for wrong in ({"weights": "somewhere"}, {"place_nets": 0}, {"nets": 3}):
        with pytest.raises(ValidationError):
            model_config({"name": "av_experts", "experts": {"face": wrong}})


@torch.no_grad()
def test_score_is_bit_identical_in_every_batch():
    expert, batch = built(), random_batch([True] * 4, [True, False, True, True])
    together = expert.raw(batch)
    assert torch.isfinite(together).all() and len(together[batch.inputs["face"].mask].unique()) == 3
    for row in range(4):
        alone = expert.raw(batch.select(torch.arange(4) == row))
        assert torch.equal(alone, together[row : row + 1])


@torch.no_grad()
def test_standardised_parts_have_equal_weights():
    expert, batch = built(), random_batch([True] * 4, [True] * 4)
    for net in expert.places:
        net.head.weight *= 100
    texture = [expert.direction(expert.texture(pairs[:, 0])) for pairs in batch.inputs["face"].values]
    place = [expert.place(pairs) for pairs in batch.inputs["face"].values]
    standardise(expert, [float(one) for one in texture], [float(one) for one in place])
    torch.testing.assert_close(expert.centre, torch.stack([torch.stack(texture).median(), torch.stack(place).median()]))
    parts = torch.stack([torch.stack(texture), torch.stack(place)], dim=1)
    torch.testing.assert_close(
        expert.raw(batch), ((parts - expert.centre) / expert.spread).sum(dim=1), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(parts.std(dim=0, correction=0), expert.spread, atol=1e-5, rtol=1e-4)


def test_the_expert_stays_in_evaluation_mode():
    expert = built()
    assert not expert.training and not expert.train().training
    assert not any(part.training for part in expert.modules())


def test_a_loaded_expert_gives_the_same_scores():
    first, batch = built(), random_batch([True] * 2, [True] * 2)
    standardise(first, [0.0, 1.0, 5.0], [1.0, 2.0, 4.0])
    torch.manual_seed(1)
    second = FaceExpert(FaceConfig(**TINY))
    assert not torch.equal(second.raw(batch), first.raw(batch))
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.raw(batch), first.raw(batch))
