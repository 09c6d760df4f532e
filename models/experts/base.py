"""The interface of experts and their registry. An expert scores one aspect of a clip."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
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
        typical: () median evidence of the real clips that it was calibrated on. It is subtracted from the evidence, so an
            expert that abstains, with evidence 0, treats a clip like a typical real one.
    """

    inputs: ClassVar[tuple[str, ...]]
    slope: Tensor
    bias: Tensor
    typical: Tensor

    def __init__(self, config: ExpertConfig) -> None:
        """Start uncalibrated: slope 1, bias 0, typical evidence 0."""
        super().__init__()
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("bias", torch.zeros(()))
        self.register_buffer("typical", torch.zeros(()))

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
    def calibrate(self, slope: float, bias: float, typical: float = 0.0) -> None:
        """Set the calibration."""
        self.slope.fill_(slope)
        self.bias.fill_(bias)
        self.typical.fill_(typical)

    def _load_from_state_dict(self, state_dict, prefix, *arguments, **keywords) -> None:  # type: ignore[no-untyped-def]
        # Checkpoints of version 0.2 have no `typical`: their evidence was not shifted.
        state_dict.setdefault(f"{prefix}typical", torch.zeros(()))
        super()._load_from_state_dict(state_dict, prefix, *arguments, **keywords)

    @classmethod
    def check_features(cls, features: FeatureConfig) -> None:  # noqa: B027  (optional)
        """Check that the expert accepts the settings of its features.

        Raises:
            UsageError: names the setting to change.
        """


def score_each(mask: Tensor, score: Callable[[int], Tensor]) -> Tensor:
    """Score clips one at a time, so that a score is bit-identical in every batch.

    Args:
        mask: (B,) bool, the clips to score. In an exported graph, B is 1.
        score: returns the score () of the clip in a row of the batch.

    Returns:
        (B,) float32, 0 where the mask is false.
    """
    if torch.compiler.is_exporting():
        return torch.stack([score(0).float()])
    scores = torch.zeros(len(mask), device=mask.device)
    for row in torch.nonzero(mask).flatten().tolist():
        scores[row] = score(row)
    return scores


EXPERTS: Registry[ExpertConfig, Expert] = Registry("expert")
