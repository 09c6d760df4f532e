"""What every stored form of a trained detector holds: its preprocessing, its score convention and its origin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from engine.scoring import Scorer
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
