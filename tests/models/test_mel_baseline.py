"""System B: a mel picture and nothing else."""

from __future__ import annotations

from dataclasses import replace

import torch

from models import build_model
from tests.support import FEATURE_CONFIG, random_batch, tiny_model


@torch.no_grad()
def test_it_never_sees_a_frame():
    model = build_model(tiny_model("mel_baseline"), FEATURE_CONFIG).eval()
    batch = random_batch([True] * 3, [True] * 3)
    other = replace(batch, covariance=torch.zeros_like(batch.covariance), has_covariance=~batch.has_covariance)
    assert torch.equal(model(batch).logit, model(other).logit)


def test_without_audio_a_clip_is_not_usable():
    model = build_model(tiny_model("mel_baseline"), FEATURE_CONFIG)
    assert model.usable(random_batch([True, False], [True, True])).tolist() == [True, False]
