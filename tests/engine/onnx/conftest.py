"""One exported detector with every expert that needs no extra package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.checkpoint import load_checkpoint
from engine.onnx.export import export_detector
from tests.support import BACKBONE, FEATURES, random_checkpoint
from utils.features.config import FeatureConfig
from utils.metrics.calibration import Calibration

EXPERTS = {
    "voice": {"trees": 2},
    "covariance": {},
    "sync": {"mouth_dims": 4, "speech_dims": 5, "components": 2},
    "motion": {},
    "face": {"backbone": BACKBONE, "place_nets": 1},
    "synthetic_speech": {},
}
CALIBRATION = Calibration("platt", 1.5, -0.25, threshold=0.7, real_threshold=0.2)


def exported(folder: Path, model: dict, features: FeatureConfig) -> tuple[Path, Path]:
    """Save a random checkpoint and its export in a folder; return both paths. A support-vector machine has 20 vectors."""
    source = random_checkpoint(folder / "source.pth", model, features=features, calibration=CALIBRATION)
    checkpoint = load_checkpoint(source)
    set_vectors(checkpoint.weights)
    checkpoint.save(source)
    output = folder / "exported.onnx"
    export_detector(load_checkpoint(source), source, output)
    return source, output


def set_vectors(weights: dict[str, torch.Tensor]) -> None:
    """Set the support vectors in the weights of a detector, because an unfitted machine has none."""
    for name in [name.removesuffix("vectors") for name in weights if name.endswith("machine.vectors")]:
        size = len(weights[f"{name}scale"])
        rng = torch.Generator().manual_seed(1)
        weights[f"{name}scale"] = torch.full((size,), size**-0.5)
        weights[f"{name}vectors"] = torch.randint(-127, 128, (20, size), generator=rng, dtype=torch.int8)
        weights[f"{name}step"] = torch.full((size,), size**-0.5 / 64)
        weights[f"{name}weights"] = 5 * torch.randn(20, generator=rng)


@pytest.fixture(scope="session")
def experts(tmp_path_factory) -> tuple[Path, Path]:
    """Return the checkpoint and the export of a fusion of all experts."""
    features = FeatureConfig.model_validate(
        {
            **FEATURES,
            "video": {**FEATURES["video"], "covariance": "frames"},
            "voice": True,
            "face": True,
            "utterance": True,
        }
    )
    torch.manual_seed(0)
    return exported(tmp_path_factory.mktemp("experts"), {"name": "av_experts", "experts": EXPERTS}, features)
