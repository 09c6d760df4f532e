"""Every committed config loads and its model builds; the default config lists every setting."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from engine.config import DEFAULT_CONFIG, RunConfig, load_run_config
from models import build_model, model_config

FOLDER = DEFAULT_CONFIG.parent
CONFIGS = sorted(path.relative_to(FOLDER).as_posix() for path in [*FOLDER.rglob("*.yml"), *FOLDER.rglob("*.yaml")])


def leaves(nested: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in nested.items():
        flat.update(leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def test_both_published_systems_have_a_config():
    names = {load_run_config(FOLDER / name).model["name"] for name in CONFIGS}
    assert {"ffdv_cov", "mel_baseline"} <= names


@pytest.mark.parametrize("name", CONFIGS)
def test_config_loads_and_its_model_builds(name):
    config = load_run_config(FOLDER / name, check_model=True)
    with torch.device("meta"):  # allocates no weights, so a large backbone is cheap
        model = build_model(config.model, config.features, pretrained=False)
    assert sum(weights.numel() for weights in model.state_dict().values()) > 0


def test_default_config_lists_every_setting_with_its_default():
    written = leaves(yaml.safe_load(DEFAULT_CONFIG.read_text(encoding="utf-8")))
    defaults = RunConfig().model_dump() | {"model": model_config({"name": "ffdv_cov"}).model_dump()}
    assert written == leaves(defaults)


def test_mel_baseline_matches_the_published_notebook():
    config = load_run_config(FOLDER / "mel_baseline.yml", check_model=True)
    train, augment = config.train, config.train.augment
    assert (train.epochs, train.batch_size, train.lr, train.step_epochs, train.gamma) == (15, 40, 0.003, 4, 0.85)
    assert (augment.mel_flip, augment.covariance_noise) == (0.5, 0.0)
    assert (config.model["backbone"], config.model["image_size_px"]) == ("efficientnet_b1", 256)


def test_default_config_matches_the_technical_report():
    config = load_run_config(None, check_model=True)
    train, video = config.train, config.features.video
    assert (train.epochs, train.batch_size, train.lr, train.step_epochs, train.gamma) == (30, 128, 0.003, 4, 0.85)
    assert (video.top_k, video.covariance, config.model["backbone"]) == (128, "frames", "resnet18")
    assert Path(config.extract_path) == Path("data")
