"""Backbones: where their weights come from, and what is said when there are none."""

from __future__ import annotations

import logging

import pytest
import torch

from models.blocks import backbone
from models.blocks.backbone import create_backbone
from tests.support import BACKBONE
from utils.errors import UsageError


@pytest.fixture
def no_hub(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(backbone, "_in_cache", lambda hub_id: False)


def test_auto_starts_at_random_with_one_warning_when_no_weights_can_be_had(no_hub, caplog):
    with caplog.at_level(logging.WARNING, logger="models.blocks.backbone"):
        _, initialisation = create_backbone(BACKBONE, pretrained="auto")
    assert initialisation == "random"
    assert len(caplog.records) == 1
    assert BACKBONE in caplog.text and "random" in caplog.text


def test_demanded_weights_that_cannot_be_had_are_an_error(no_hub):
    with pytest.raises(UsageError, match="hub cannot be reached"):
        create_backbone(BACKBONE, pretrained=True)


def test_without_pretraining_nobody_looks_for_weights(monkeypatch):
    def fail(*_):
        raise AssertionError("looked for weights")

    monkeypatch.setattr(backbone, "_create_pretrained", fail)
    assert create_backbone(BACKBONE, pretrained=False)[1] == "random"


def test_local_weights_are_loaded_and_named(tmp_path):
    source, _ = create_backbone(BACKBONE, pretrained=False, num_classes=1000)
    path = tmp_path / "mine.pth"
    torch.save(source.state_dict(), path)
    loaded, initialisation = create_backbone(BACKBONE, pretrained=True, weights=str(path))
    assert "mine.pth" in initialisation
    assert torch.equal(loaded.state_dict()["conv1.0.weight"], source.state_dict()["conv1.0.weight"])


def test_an_absent_weight_file_and_an_unknown_backbone_are_errors(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.pth"):
        create_backbone(BACKBONE, pretrained=True, weights=str(tmp_path / "absent.pth"))
    with pytest.raises(UsageError, match="resnet99"):
        create_backbone("resnet99", pretrained=False)
