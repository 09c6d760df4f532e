"""The `train` section: optimiser, learning-rate schedule and augmentation. Importing it does not load torch."""

from __future__ import annotations

from pydantic import Field

from dataset.config import AugmentConfig
from utils.config import Section


class TrainConfig(Section):
    """Settings of the training loop. The defaults are those of the published System A."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(128, ge=1)
    lr: float = Field(0.003, gt=0, description="Adam's learning rate in the first epoch")
    step_epochs: int = Field(4, ge=1, description="epochs between two decays of the learning rate")
    gamma: float = Field(0.85, gt=0, le=1, description="factor of each decay")
    balance_classes: bool = Field(False, description="draw real and fake clips equally often")
    augment: AugmentConfig = AugmentConfig()

    def learning_rate(self, epoch: int) -> float:
        """Return the step-decayed learning rate of an epoch, counted from 1."""
        return self.lr * self.gamma ** ((epoch - 1) // self.step_epochs)
