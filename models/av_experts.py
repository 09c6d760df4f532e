"""Separate experts, each with a calibrated opinion of its own modality, fused late: what they say about the clip adds up."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from pydantic import Field, ValidationError, field_validator
from torch import Tensor, nn

from dataset.batch import Batch
from models.base import Detector, DetectorConfig, DetectorOutput
from models.experts import EXPERTS, Expert
from models.experts.evidence import clip_evidence
from models.registry import MODELS
from utils.config import describe_problems
from utils.features.config import FeatureConfig


class AvExpertsConfig(DetectorConfig):
    """Config of the fusion and of its experts."""

    name: Literal["av_experts"] = "av_experts"
    experts: dict[str, dict[str, Any]] = Field(
        default_factory=lambda: {"voice": {}},
        validate_default=True,
        description="expert -> its settings; one that is left out is off",
    )
    bound: float = Field(4.0, gt=0, description="largest log-odds of an expert, so that none drowns the others")

    @field_validator("experts")
    @classmethod
    def _known_and_whole(cls, experts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if not experts:
            raise ValueError("at least one expert is needed")
        unknown = sorted(set(experts) - set(EXPERTS))
        if unknown:
            raise ValueError(f"unknown expert {unknown[0]!r} (there are: {', '.join(EXPERTS)})")
        return {name: checked_section(name, section) for name, section in experts.items()}


def checked_section(name: str, section: dict[str, Any]) -> dict[str, Any]:
    """An expert's section with its defaults.

    Raises:
        ValueError: names the expert, the keys and what is wrong with each.
    """
    config_class = EXPERTS.get(name).config_class
    try:
        return config_class.model_validate(section).model_dump()
    except ValidationError as error:
        raise ValueError("; ".join(describe_problems(error, config_class, f"{name}."))) from None


@MODELS.register("av_experts", AvExpertsConfig)
class AvExperts(Detector):
    """The fusion. It has a term per expert, its `clip_evidence`, which is 0 where the expert has no opinion."""

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

    @property
    def _judges(self) -> dict[str, Expert]:
        return {name: cast(Expert, expert) for name, expert in self.experts.items()}

    def masks(self, batch: Batch) -> Tensor:
        """(experts, B) bool: who judges which clip."""
        return torch.stack([expert.mask(batch) for expert in self._judges.values()])

    @property
    def terms(self) -> tuple[str, ...]:
        """See `Detector.terms`: the experts' names."""
        return tuple(self._judges)

    def usable(self, batch: Batch) -> Tensor:
        """(B,) bool: clips that at least one expert can judge."""
        return self.masks(batch).any(dim=0)

    def forward(self, batch: Batch) -> DetectorOutput:
        """See `Detector.forward`."""
        terms, silent = {}, {}
        for (name, expert), mask in zip(self._judges.items(), self.masks(batch), strict=True):
            evidence = clip_evidence(expert(batch), self.bound)
            terms[name] = torch.where(mask, evidence, torch.zeros_like(evidence))
            silent[name] = ~mask
        return DetectorOutput(terms, silent)
