"""Late fusion of experts. Each scores one modality with calibrated log-odds; the sum of their evidence is the logit."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from pydantic import Field, ValidationError, field_validator
from torch import Tensor, nn

from dataset.batch import Batch
from models.base import DetectorConfig, DetectorModel, DetectorOutput
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
        description="expert -> its settings; experts not listed are off",
    )
    bound: float = Field(4.0, gt=0, description="maximum evidence of one expert in log-odds, so that none dominates")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of all experts."""
        return tuple(dict.fromkeys(name for expert in self.experts for name in EXPERTS.get(expert).built_class.inputs))

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
    """Return an expert's section with its defaults filled in.

    Raises:
        ValueError: names the expert and lists the problem of each key.
    """
    config_class = EXPERTS.get(name).config_class
    try:
        return config_class.model_validate(section).model_dump()
    except ValidationError as error:
        raise ValueError("; ".join(describe_problems(error, config_class, f"{name}."))) from None


@MODELS.register("av_experts", AvExpertsConfig)
class AvExperts(DetectorModel):
    """Late fusion of experts. Its terms are their evidence above that of a typical real clip; 0 where an expert abstains."""

    fitted_by = "utils/train_experts.py"

    def __init__(self, config: AvExpertsConfig, features: FeatureConfig) -> None:
        """Build the experts of the config.

        Raises:
            UsageError: an expert does not accept the feature settings.
        """
        super().__init__()
        self.inputs = config.inputs
        self.bound = config.bound
        self.experts = nn.ModuleDict()
        for name, section in config.experts.items():
            entry = EXPERTS.get(name)
            entry.built_class.check_features(features)
            self.experts[name] = entry.built_class(entry.config_class.model_validate(section))

    @property
    def _experts(self) -> dict[str, Expert]:
        return {name: cast(Expert, expert) for name, expert in self.experts.items()}

    def masks(self, batch: Batch) -> Tensor:
        """Return a mask (experts, B) bool of the clips that each expert scores."""
        return torch.stack([expert.mask(batch) for expert in self._experts.values()])

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the experts."""
        return tuple(self._experts)

    def usable(self, batch: Batch) -> Tensor:
        """Return a mask (B,) bool of the clips that at least one expert can score."""
        return self.masks(batch).any(dim=0)

    def forward(self, batch: Batch) -> DetectorOutput:
        """Score B usable clips; see `DetectorModel.forward`."""
        terms, masked = {}, {}
        for (name, expert), mask in zip(self._experts.items(), self.masks(batch), strict=True):
            evidence = clip_evidence(expert(batch), self.bound) - expert.typical
            terms[name] = torch.where(mask, evidence, torch.zeros_like(evidence))
            masked[name] = ~mask
        return DetectorOutput(terms, masked)
