"""What an expert is: a judge of one aspect of a clip, with a calibrated opinion of its own and a mask where it has none."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dataset.batch import Batch
from utils.config import Section
from utils.features.config import FeatureConfig
from utils.registry import Registry


class ExpertConfig(Section):
    """What the config sections of all experts share."""


class Expert(nn.Module, ABC):
    """An expert. `slope` and `bias` turn its raw log-odds into calibrated ones; they travel with its weights."""

    slope: Tensor
    bias: Tensor

    def __init__(self, config: ExpertConfig) -> None:
        """Begin uncalibrated, with an expert's own config."""
        super().__init__()
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("bias", torch.zeros(()))

    @abstractmethod
    def mask(self, batch: Batch) -> Tensor:
        """(B,) bool: the clips that it has something to say about."""

    @abstractmethod
    def raw(self, batch: Batch) -> Tensor:
        """(B,) float32 uncalibrated log-odds of fake; arbitrary but finite where the mask is false."""

    def forward(self, batch: Batch) -> Tensor:
        """(B,) float32 calibrated log-odds of fake."""
        return self.slope * self.raw(batch) + self.bias

    @torch.no_grad()
    def calibrate(self, slope: float, bias: float) -> None:
        """Set the calibration."""
        self.slope.fill_(slope)
        self.bias.fill_(bias)

    @classmethod
    def check_features(cls, features: FeatureConfig) -> None:  # noqa: B027  (an expert that needs none says nothing)
        """Refuse features that lack what the expert looks at.

        Raises:
            UsageError: names the setting.
        """


EXPERTS: Registry[ExpertConfig, Expert] = Registry("expert")
