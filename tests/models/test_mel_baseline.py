"""System B reads the mel-spectrogram image and no other input."""

from __future__ import annotations

from dataclasses import replace

import torch

from models import build_model
from tests.support import FEATURE_CONFIG, random_batch, tiny_model


@torch.no_grad()
def test_the_model_does_not_use_video_frames():
    model = build_model(tiny_model("mel_baseline"), FEATURE_CONFIG).eval()
    batch = random_batch([True] * 3, [True] * 3)
    mel_only = replace(batch, inputs={"mel": batch.inputs["mel"]})
    assert model.inputs == ("mel",) and torch.equal(model(batch).logit, model(mel_only).logit)


def test_clip_without_audio_is_not_usable():
    model = build_model(tiny_model("mel_baseline"), FEATURE_CONFIG)
    assert model.usable(random_batch([True, False], [True, True])).tolist() == [True, False]
