"""Checkpoints: everything that turns a clip into a score, as tensors and plain types."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from models import build_model
from models.base import Detector
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.files import atomic_path, existing_file
from utils.metrics.calibration import Calibration

FORMAT = "multi-ffdv"
FORMAT_VERSION = 1
CONVENTION = "target 1 = fake; logit above 0 speaks for fake; score = calibrated probability of fake"


@dataclass
class Checkpoint:
    """A trained detector with its preprocessing and score convention.

    Attributes:
        model: the model's config section, `name` included.
        features: how its inputs are made.
        weights: the model's state dict.
        calibration: from logit to score, with the operating threshold.
        run_config: the resolved run config it was trained with.
        epoch: epochs trained, from 1.
        metrics: validation metrics of that epoch, and the data they are of.
        provenance: commit, versions, initialisation.
        training: optimiser, schedule and selection state; only in `last.pth`.
    """

    model: dict[str, Any]
    features: FeatureConfig
    weights: dict[str, torch.Tensor]
    calibration: Calibration = field(default_factory=Calibration)
    run_config: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] | None = None

    def build(self) -> Detector:
        """The detector with these weights, in evaluation mode.

        Raises:
            UsageError: the model is unknown, or the weights do not fit it.
        """
        try:
            model = build_model(self.model, self.features, pretrained=False)
            model.load_state_dict(self.weights)
        except (ValidationError, RuntimeError, TypeError, AttributeError) as error:
            problem = " ".join(str(error).split())[:200]
            raise UsageError(f"the checkpoint's weights do not fit its model ({problem})") from None
        model.initialisation = self.provenance.get("initialisation", "unknown")
        return model.eval()

    def save(self, path: Path) -> Path:
        """Write the checkpoint: to a temporary name first, then moved into place."""
        content = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "convention": CONVENTION,
            "model": self.model,
            "features": self.features.model_dump(),
            "fingerprint": self.features.fingerprint(),
            "weights": {name: tensor.detach().cpu() for name, tensor in self.weights.items()},
            "calibration": self.calibration.to_dict(),
            "run_config": self.run_config,
            "epoch": self.epoch,
            "metrics": self.metrics,
            "provenance": self.provenance,
            "training": self.training,
        }
        with atomic_path(path) as temporary:
            torch.save(content, temporary)
        return path


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of ours; nothing in the file is executed (`weights_only=True`).

    Raises:
        UsageError: absent, not a checkpoint of ours, of another version, or for features that are no longer made.
    """
    path = existing_file(path, "checkpoint")
    not_ours = f"{path} is not a multi-ffdv checkpoint"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's making; what matters to the user is said below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except Exception:  # the restricted unpickler meets a foreign or damaged file with any kind of exception
        raise UsageError(f"{not_ours}, or it is damaged") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{not_ours}: it holds other tensors or settings")
    if content.get("version") != FORMAT_VERSION:
        raise UsageError(f"{path} has checkpoint version {content.get('version')}, this code reads {FORMAT_VERSION}")
    try:
        features = FeatureConfig.model_validate(content["features"])
        for name in ("model", "weights", "run_config", "metrics", "provenance"):
            if not isinstance(content[name], dict):
                raise TypeError(f"{name} is a {type(content[name]).__name__}, not a mapping")
        if content["fingerprint"] != features.fingerprint():
            raise UsageError(f"{path} was trained on features of another version, which this code no longer makes")
        return Checkpoint(
            model=content["model"],
            features=features,
            weights=content["weights"],
            calibration=Calibration.from_dict(content["calibration"]),
            run_config=content["run_config"],
            epoch=content["epoch"],
            metrics=content["metrics"],
            provenance=content["provenance"],
            training=content["training"],
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise UsageError(f"{not_ours}: {' '.join(str(error).split())[:200]}") from None
