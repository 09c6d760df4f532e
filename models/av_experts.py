"""Separate experts, each with a calibrated opinion of its own, fused late: the mean of the log-odds of those that have one."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from dataset.batch import Batch
from models.base import Detector, DetectorConfig, DetectorOutput
from models.experts import EXPERTS
from models.registry import MODELS
from utils.features.config import FeatureConfig


class AvExpertsConfig(DetectorConfig):
    """Config of the fusion and of its experts."""

    name: Literal["av_experts"] = "av_experts"
    experts: dict[str, dict[str, Any]] = Field(
        default_factory=lambda: {"voice": {}},
        validate_default=True,
        description="expert -> its settings; one that is left out is off",
    )
    bound: float = Field(4.0, gt=0, description="largest size of an expert's log-odds, so that none drowns the others")

    @field_validator("experts")
    @classmethod
    def _known_and_whole(cls, experts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if not experts:
            raise ValueError("at least one expert is needed")
        unknown = sorted(set(experts) - set(EXPERTS))
        if unknown:
            raise ValueError(f"unknown expert {unknown[0]!r} (there are: {', '.join(EXPERTS)})")
        return {name: EXPERTS.get(name).config_class(**section).model_dump() for name, section in experts.items()}


@MODELS.register("av_experts", AvExpertsConfig)
class AvExperts(Detector):
    """The fusion. It has a term per expert: its bounded log-odds over the number of experts that judge the clip."""

    fitted_by = "utils/train_experts.py"

    def __init__(self, config: AvExpertsConfig, features: FeatureConfig) -> None:
        """Build the experts that the config names.

        Raises:
            UsageError: the features lack what an expert looks at.
        """
        super().__init__()
        self.bound = config.bound
        self.experts = nn.ModuleDict()
        for name, section in config.experts.items():
            entry = EXPERTS.get(name)
            entry.built_class.check_features(features)
            self.experts[name] = entry.built_class(entry.config_class.model_validate(section))

    def masks(self, batch: Batch) -> Tensor:
        """(experts, B) bool: who judges which clip."""
        return torch.stack([expert.mask(batch) for expert in self.experts.values()])

    def usable(self, batch: Batch) -> Tensor:
        """(B,) bool: clips that at least one expert can judge."""
        return self.masks(batch).any(dim=0)

    def forward(self, batch: Batch) -> DetectorOutput:
        """See `Detector.forward`. The term of an expert that is silent on a clip is 0 there."""
        masks = self.masks(batch)
        judges = masks.sum(dim=0).clamp(min=1)
        terms = {}
        for (name, expert), mask in zip(self.experts.items(), masks, strict=True):
            log_odds = expert(batch).clamp(-self.bound, self.bound)
            terms[name] = torch.where(mask, log_odds, torch.zeros_like(log_odds)) / judges
        return DetectorOutput(terms)
