"""What every detector is: a module from a `Batch` to one logit per clip, made of named terms that add up."""

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
    """What the config sections of all detectors share."""

    name: str
    pretrained: bool | Literal["auto"] = Field(
        "auto", description="ImageNet weights: auto: if they can be had; true: fail without; false: random start"
    )
    weights: str | None = Field(
        None, description="weight file; package: requirements-weights.txt; null: timm's own source"
    )


@dataclass(frozen=True)
class DetectorOutput:
    """What a detector says about B clips.

    Attributes:
        terms: name -> (B,) float32; they add up to the logit, and each is written out as an evidence column.
        silent: name -> (B,) bool, the clips that a term has nothing to say of: it is 0 there, and its evidence stays empty.
    """

    terms: dict[str, Tensor]
    silent: dict[str, Tensor] = field(default_factory=dict)

    @property
    def logit(self) -> Tensor:
        """(B,) float32, z1 - z0 of a two-class head: above 0 speaks for fake."""
        return torch.stack(list(self.terms.values())).sum(dim=0)


class Detector(nn.Module, ABC):
    """A detector. `initialisation` says how its weights began: `random`, or where pretrained ones came from.

    A detector without parameters for gradient steps, made of trees for example, names in `fitted_by` the command that
    fits it.
    """

    initialisation: str = "random"
    fitted_by: ClassVar[str] = ""

    @property
    @abstractmethod
    def terms(self) -> tuple[str, ...]:
        """The names of its terms, known before any clip is judged."""

    @abstractmethod
    def usable(self, batch: Batch) -> Tensor:
        """(B,) bool: which clips have the modalities that this detector needs; the others stay unscored."""

    @abstractmethod
    def forward(self, batch: Batch) -> DetectorOutput:
        """Judge B clips, all of which are `usable`. A clip's output depends on that clip alone in evaluation mode."""
