"""Backbones: where weights are loaded from, and the error if they are missing."""

from __future__ import annotations

import logging

import pytest
import torch

from models.blocks import backbone
from models.blocks.backbone import create_backbone
from models.registry import build_model
from tests.support import BACKBONE, FEATURE_CONFIG, SIZE_PX, random_batch, tiny_model
from utils.errors import UsageError


@pytest.fixture
def no_hub(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(backbone, "_in_cache", lambda hub_id: False)


def test_auto_falls_back_to_random_weights_with_one_warning(no_hub, caplog):
    with caplog.at_level(logging.WARNING, logger="models.blocks.backbone"):
        _, initialisation = create_backbone(BACKBONE, pretrained="auto")
    assert initialisation == "random"
    assert len(caplog.records) == 1
    assert BACKBONE in caplog.text and "random" in caplog.text


def test_unavailable_required_weights_are_an_error(no_hub):
    with pytest.raises(UsageError, match="hub cannot be reached"):
        create_backbone(BACKBONE, pretrained=True)


def test_no_weights_are_searched_without_pretraining(monkeypatch):
    def fail(*_):
        raise AssertionError("looked for weights")

    monkeypatch.setattr(backbone, "_create_pretrained", fail)
    assert create_backbone(BACKBONE, pretrained=False)[1] == "random"


def test_local_weights_are_loaded_and_reported(tmp_path):
    source, _ = create_backbone(BACKBONE, pretrained=False, num_classes=1000)
    path = tmp_path / "mine.pth"
    torch.save(source.state_dict(), path)
    loaded, initialisation = create_backbone(BACKBONE, pretrained=True, weights=str(path))
    assert "mine.pth" in initialisation
    assert torch.equal(loaded.state_dict()["conv1.0.weight"], source.state_dict()["conv1.0.weight"])


def test_missing_weight_file_and_unknown_backbone_are_errors(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.pth"):
        create_backbone(BACKBONE, pretrained=True, weights=str(tmp_path / "absent.pth"))
    with pytest.raises(UsageError, match="resnet99"):
        create_backbone("resnet99", pretrained=False)


@pytest.mark.parametrize("model", ["mel_baseline", "ffdv_cov"])
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mobilenetv3_small_050"])
def test_models_accept_fixed_size_backbones_and_layers_after_pooling(model, name):
    torch.manual_seed(0)
    detector = build_model(tiny_model(model, backbone=name, image_size_px=SIZE_PX), FEATURE_CONFIG).train()
    logit = detector(random_batch([True] * 4, [True] * 4)).logit
    assert logit.shape == (4,) and torch.isfinite(logit).all()
    torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.tensor([0.0, 1.0, 0.0, 1.0])).backward()
    first = next(parameter for parameter in detector.parameters() if parameter.dim() == 4)
    assert first.grad is not None and first.grad.abs().sum() > 0


def test_local_transformer_weights_fit_another_image_size(tmp_path):
    source, _ = create_backbone("vit_tiny_patch16_224", pretrained=False)
    path = tmp_path / "vit.pth"
    torch.save(source.state_dict(), path)
    loaded, initialisation = create_backbone(
        "vit_tiny_patch16_224", pretrained=True, weights=str(path), image_size_px=SIZE_PX
    )
    assert "vit.pth" in initialisation
    assert loaded.pos_embed.shape == (1, 1 + (SIZE_PX // 16) ** 2, 192)
    assert torch.equal(loaded.state_dict()["blocks.0.attn.qkv.weight"], source.state_dict()["blocks.0.attn.qkv.weight"])
