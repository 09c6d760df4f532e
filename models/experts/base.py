"""The interface of experts and their registry. An expert scores one aspect of a clip."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from dataset.batch import Batch
from utils.config import Section
from utils.features.config import FeatureConfig
from utils.registry import Registry


class ExpertConfig(Section):
    """Base of all experts' config sections."""


class Expert(nn.Module, ABC):
    """An expert. All state needed for scoring is a parameter or a buffer, so it is stored in the checkpoint.

    Attributes:
        inputs: names of the arrays read from `Batch.inputs`.
        slope: () and bias (): calibration of the raw log-odds.
    """

    inputs: ClassVar[tuple[str, ...]]
    slope: Tensor
    bias: Tensor

    def __init__(self, config: ExpertConfig) -> None:
        """Start uncalibrated: slope 1, bias 0."""
        super().__init__()
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("bias", torch.zeros(()))

    @abstractmethod
    def mask(self, batch: Batch) -> Tensor:
        """Return a mask (B,) bool of the clips that have the expert's inputs. It abstains from the others."""

    @abstractmethod
    def raw(self, batch: Batch) -> Tensor:
        """Return uncalibrated log-odds of fake, (B,) float32. They are finite but meaningless where the mask is false."""

    def forward(self, batch: Batch) -> Tensor:
        """Return calibrated log-odds of fake, (B,) float32."""
        return self.slope * self.raw(batch) + self.bias

    @torch.no_grad()
    def calibrate(self, slope: float, bias: float) -> None:
        """Set the calibration."""
        self.slope.fill_(slope)
        self.bias.fill_(bias)

    @classmethod
    def check_features(cls, features: FeatureConfig) -> None:  # noqa: B027  (optional)
        """Check that the expert accepts the settings of its features.

        Raises:
            UsageError: names the setting to change.
        """


EXPERTS: Registry[ExpertConfig, Expert] = Registry("expert")
