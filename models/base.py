"""The interface of detector models: modules that map a `Batch` to one logit per clip, the sum of named terms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dataset.batch import Batch
from utils.config import Section


class DetectorConfig(Section):
    """Base of all models' config sections."""

    name: str
    pretrained: bool | Literal["auto"] = Field(
        "auto", description="ImageNet weights; auto: if available; true: fail without; false: random start"
    )
    weights: str | None = Field(
        None, description="weight file; package: requirements-weights.txt; null: timm's own source"
    )

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the arrays that a model of this config reads from a batch."""
        raise NotImplementedError


@dataclass(frozen=True)
class DetectorOutput:
    """Output for B clips.

    Attributes:
        terms: name -> (B,) float32. Their sum is the logit, and each becomes an evidence column.
        masked: name -> (B,) bool, the clips for which a term abstains. The term is 0 there, and its evidence is empty.
    """

    terms: dict[str, Tensor]
    masked: dict[str, Tensor] = field(default_factory=dict)

    @property
    def logit(self) -> Tensor:
        """(B,) float32, z1 - z0 of a two-class head: positive for fake."""
        return torch.stack(list(self.terms.values())).sum(dim=0)


class DetectorModel(nn.Module, ABC):
    """A detector's network.

    Attributes:
        inputs: names of the arrays read from `Batch.inputs`; a run extracts exactly those.
        initialisation: origin of the initial weights: `random`, or the source of the pretrained weights.
        fitted_by: the command that fits a model that is not trained by gradient descent.
    """

    inputs: tuple[str, ...]
    initialisation: str = "random"
    fitted_by: ClassVar[str] = ""

    @property
    @abstractmethod
    def terms(self) -> tuple[str, ...]:
        """Names of the output's terms."""

    @abstractmethod
    def usable(self, batch: Batch) -> Tensor:
        """Return a mask (B,) bool of the clips with the modalities that the model needs; the others are not scored."""

    @abstractmethod
    def forward(self, batch: Batch) -> DetectorOutput:
        """Score B usable clips. In evaluation mode the output for a clip does not depend on the other clips."""
