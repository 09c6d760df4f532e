"""The `train` section: optimiser, schedule, precision and augmentation. Importing it does not load torch."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from dataset.config import AugmentConfig
from utils.config import Section


class ClassWeights(Section):
    """Weights of the classes in the loss. A loss is a weighted mean over clips, so only their ratio matters."""

    real: float = Field(1.0, gt=0)
    fake: float = Field(1.0, gt=0)
    balanced: bool = Field(False, description="also divide by the number of training clips of the class")

    def of_classes(self, n_real: int, n_fake: int) -> tuple[float, float] | None:
        """Return the weights of a real and of a fake clip; `None` if they are equal."""
        real, fake = self.real, self.fake
        if self.balanced:
            real, fake = real * (n_real + n_fake) / (2 * n_real), fake * (n_real + n_fake) / (2 * n_fake)
        return None if real == fake else (real, fake)


class TrainConfig(Section):
    """Settings of the training loop. The defaults are those of the published System A."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(128, ge=1, description="clips per batch, over all processes")
    accumulate: int = Field(1, ge=1, description="batches per step of the optimiser")
    lr: float = Field(0.003, gt=0, description="Adam's learning rate after the warm-up")
    schedule: Literal["step", "cosine", "constant"] = Field(
        "step", description="decay of the learning rate: in steps per epoch, along a cosine per batch, or none"
    )
    step_epochs: int = Field(4, ge=1, description="schedule step: epochs between two decays of the learning rate")
    gamma: float = Field(0.85, gt=0, le=1, description="schedule step: factor of each decay")
    min_lr: float = Field(0.0, ge=0, description="schedule cosine: the learning rate at the end")
    warmup_epochs: float = Field(0.0, ge=0, description="epochs in which the learning rate rises linearly from 0")
    clip_norm: float | None = Field(None, gt=0, description="maximum norm of the gradient; null: no clipping")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of averaged weights, which are validated and saved; null: no averaging"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after this many epochs without a better validation AUC; null: never"
    )
    amp: Literal["none", "bf16", "fp16"] = Field("none", description="mixed precision of training steps")
    channels_last: bool = Field(False, description="store weights of convolutions in the order N H W C")
    compile: bool = Field(False, description="compile the training steps with torch.compile")
    freeze_batch_norm: bool = Field(False, description="normalise with the initial statistics, which are not updated")
    balance_classes: bool = Field(False, description="draw real and fake clips equally often")
    balance_sources: bool = Field(
        False, description="draw the values of the label column source equally often (within each class, if balanced)"
    )
    class_weights: ClassWeights = ClassWeights()
    timeout_s: float = Field(
        1800.0, ge=1, description="several processes: how long each waits for the others before the run fails"
    )
    augment: AugmentConfig = AugmentConfig()

    @field_validator("min_lr")
    @classmethod
    def _is_at_most_lr(cls, value: float, info: ValidationInfo) -> float:
        if value > info.data.get("lr", math.inf):
            raise ValueError(f"the final learning rate is above train.lr={info.data['lr']}")
        return value

    @field_validator("warmup_epochs")
    @classmethod
    def _ends_before_the_training(cls, value: float, info: ValidationInfo) -> float:
        if value >= info.data.get("epochs", math.inf):
            raise ValueError(f"the warm-up does not end before train.epochs={info.data['epochs']}")
        return value

    def learning_rate(self, epoch: int, step: int = 0, steps: int = 1) -> float:
        """Return the learning rate of a step.

        It is a function of its arguments only, so a resumed run continues the schedule without stored state.

        Args:
            epoch: counted from 1.
            step: step of the optimiser in the epoch, counted from 0.
            steps: number of steps in the epoch.
        """
        done = epoch - 1 + step / steps
        warmth = min(1.0, (done + 1 / steps) / self.warmup_epochs) if self.warmup_epochs else 1.0
        if self.schedule == "step":
            return warmth * (self.lr * self.gamma ** ((epoch - 1) // self.step_epochs))
        if self.schedule == "constant":
            return warmth * self.lr
        progress = min(1.0, max(0.0, (done - self.warmup_epochs) / (self.epochs - self.warmup_epochs)))
        return warmth * (self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * progress)) / 2)
