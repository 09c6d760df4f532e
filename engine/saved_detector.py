"""What every stored form of a trained detector holds: its preprocessing, its score convention and its origin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataset.config import ExtractionConfig
from engine.scoring import Scorer
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.metrics.calibration import Calibration

FORMAT = "multi-ffdv"
FORMAT_VERSION = 1
CONVENTION = "target 1 = fake; a logit above 0 means fake; score = calibrated probability of fake"


@dataclass(kw_only=True)
class SavedDetector(ABC):
    """A trained detector without its weights.

    Attributes:
        model: the model's config section, including `name`.
        features: settings of the extraction of its inputs.
        calibration: the map from logit to score, and the thresholds between the verdicts.
        run_config: the resolved config of the run that trained it.
        epoch: number of epochs trained.
        metrics: validation metrics of that epoch, by split.
        provenance: commit, versions, initialisation.
    """

    model: dict[str, Any]
    features: FeatureConfig
    calibration: Calibration = field(default_factory=Calibration)
    run_config: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @abstractmethod
    def scorer(self, device: str, tta: int) -> Scorer:
        """Load the weights for scoring.

        Args:
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
            tta: number of views averaged per clip.

        Raises:
            UsageError: the device is unavailable, or the weights do not fit the model.
        """

    def identity_file(self, path: Path) -> Path:
        """Return the file that changes whenever the scores or verdicts of the detector stored at `path` change."""
        return path

    def settings(self) -> dict[str, Any]:
        """Return everything but the weights as plain types, as they are stored."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "convention": CONVENTION,
            "model": self.model,
            "features": self.features.model_dump(),
            "fingerprint": self.features.fingerprint(),
            "calibration": self.calibration.to_dict(),
            "run_config": self.run_config,
            "epoch": self.epoch,
            "metrics": self.metrics,
            "provenance": self.provenance,
        }


def parse_settings(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Check what `SavedDetector.settings` returned and return the fields of a `SavedDetector`.

    Args:
        content: the stored settings.
        path: their file, for messages.

    Raises:
        UsageError: they have another version, or belong to features that this code no longer extracts.
        KeyError, TypeError, ValueError: they are incomplete or invalid.
    """
    if content.get("version") != FORMAT_VERSION:
        raise UsageError(
            f"{path} has checkpoint version {content.get('version')}; this code reads version {FORMAT_VERSION}"
        )
    features = FeatureConfig.model_validate(content["features"])
    for name in ("model", "run_config", "metrics", "provenance", "calibration"):
        if not isinstance(content[name], dict):
            raise TypeError(f"{name} is a {type(content[name]).__name__}, not a mapping")
    if not isinstance(content["model"].get("name"), str):
        raise TypeError("its model has no name")
    if not all(isinstance(values, dict) for values in content["metrics"].values()):
        raise TypeError("its metrics are not grouped by split")
    # The workers' limits are read from this section before the first clip.
    ExtractionConfig.model_validate(content["run_config"].get("extraction", {}))
    if content["fingerprint"] != features.fingerprint():
        raise UsageError(f"{path} was trained on features of an incompatible version, which this code cannot extract")
    return {
        "model": content["model"],
        "features": features,
        "calibration": Calibration.from_dict(content["calibration"]),
        "run_config": content["run_config"],
        "epoch": content["epoch"],
        "metrics": content["metrics"],
        "provenance": content["provenance"],
    }
