"""A model in training: precision, optimiser and averaged weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from engine.processes import current_processes
from engine.resume import ResumedRun
from engine.train_config import TrainConfig
from engine.training_state import TrainingState
from models.base import DetectorModel

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Types of `train.amp`."""


class Learner:
    """A model with its optimiser and training state.

    Attributes:
        model: the model that is trained.
        network: the function that trains it: the model itself, or its compiled form.
        averaged: averaged weights, if `train.ema` is set.
    """

    def __init__(
        self,
        model: DetectorModel,
        settings: TrainConfig,
        *,
        class_weights: tuple[float, float] | None = None,
        resumed: ResumedRun | None = None,
    ) -> None:
        """Start from the model's weights, or continue from a snapshot.

        Args:
            model: on its device.
            settings: the `train` section.
            class_weights: weights of a real and of a fake clip in the loss; `None` if they are equal.
            resumed: the snapshot; `model` has the weights of its checkpoint.
        """
        self.settings = settings
        self.class_weights = class_weights
        self.processes = current_processes()
        self.model = model.to(memory_format=torch.channels_last) if settings.channels_last else model
        self.device = next(model.parameters()).device
        self.averaged = average_of(model, settings.ema) if settings.ema else None
        self.network = torch.compile(model) if settings.compile else model
        self.optimizer = torch.optim.Adam(model.parameters())
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.amp == "fp16")
        self.state = TrainingState()
        if resumed is not None:
            self._restore(resumed.training)

    @property
    def evaluated(self) -> DetectorModel:
        """The model to validate and save: with averaged weights if there are any."""
        return self.model if self.averaged is None else cast(DetectorModel, self.averaged.module)

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def train_mode(self) -> None:
        """Set the model to training mode."""
        self.model.train()
        if self.settings.freeze_batch_norm:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    @contextlib.contextmanager
    def precision(self) -> Iterator[None]:
        """Run the forward pass within the block in mixed precision if `train.amp` is set."""
        kind = PRECISIONS.get(self.settings.amp)
        with torch.autocast(self.device.type, kind, enabled=kind is not None):
            yield

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a part of the step's loss."""
        self.scaler.scale(loss).backward()

    def step(self) -> None:
        """Update the weights from the gradients and clear the gradients."""
        if self.settings.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)

    def snapshot(self) -> dict[str, Any]:
        """Return everything except the weights of `evaluated`, as tensors and plain types."""
        content: dict[str, Any] = {"optimizer": self.optimizer.state_dict(), "state": vars(self.state).copy()}
        if self.scaler.is_enabled():
            content["scaler"] = self.scaler.state_dict()
        if self.averaged is not None:
            content["weights"] = self.model.state_dict()
            content["averaged_steps"] = int(self.averaged.n_averaged)
        return content

    def _restore(self, training: dict[str, Any]) -> None:
        """Continue from a snapshot. Settings that have been switched on since it was taken start anew."""
        if "weights" in training:
            self.model.load_state_dict(training["weights"])
        if self.averaged is not None:
            self.averaged.n_averaged.fill_(training.get("averaged_steps", 0))
        if "scaler" in training and self.scaler.is_enabled():
            self.scaler.load_state_dict(training["scaler"])
        self.optimizer.load_state_dict(training["optimizer"])
        self.state = TrainingState(**training["state"])


def average_of(model: DetectorModel, decay: float) -> AveragedModel:
    """Return a copy of a model for an exponential moving average of its weights and buffers."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
