"""A model in training: precision, optimiser and averaged weights."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dataset.batch import Batch
from engine.processes import current_processes
from engine.resume import ResumedRun
from engine.train_config import TrainConfig
from engine.training_state import TrainingState
from models.base import DetectorModel, DetectorOutput
from utils.errors import WorkError

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Types of `train.amp`."""


class Learner:
    """A model with its optimiser and training state.

    Attributes:
        model: the model that is trained.
        network: the function that trains it: the model itself, or its parallel or compiled form.
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
        self.device = next(model.parameters()).device
        if self.processes.size > 1 and self.device.type == "cuda":
            # Unlike torch's function, timm's also converts its layers that join normalisation and activation.
            model = convert_sync_batchnorm(model)
        self.model = model.to(memory_format=torch.channels_last) if settings.channels_last else model
        self.averaged = average_of(self.model, settings.ema) if settings.ema else None
        self._parallel = in_parallel(self.model) if self.processes.is_group else None
        network = self._parallel or self.model
        self.network: Callable[[Batch], DetectorOutput] = torch.compile(network) if settings.compile else network
        self.optimizer = torch.optim.Adam(self.model.parameters())
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

    @contextlib.contextmanager
    def gradients(self, *, last: bool) -> Iterator[None]:
        """Compute the gradients of a part of a step within the block. The processes exchange those of the last part.

        Raises:
            WorkError: the model cannot be compiled, or torchrun has ended.
        """
        self.processes.check_launcher()
        try:
            with contextlib.nullcontext() if last or self._parallel is None else self._parallel.no_sync():
                yield
        except torch._dynamo.exc.TorchDynamoException as error:
            raise WorkError(f"train.compile: {' '.join(str(error).split())[:200]}; set train.compile=false") from None

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

    def finish_epoch(self) -> None:
        """Give all processes the same statistics of normalisation."""
        for model in {self.model, self.evaluated}:
            self.processes.average_buffers(model)

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


def in_parallel(model: DetectorModel) -> DistributedDataParallel:
    """Return a model that averages its gradients over the processes. For the statistics of normalisation see `finish_epoch`."""
    with warnings.catch_warnings():
        # The successor of this option does not exist in the oldest version of torch that we support.
        warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
        return DistributedDataParallel(model, broadcast_buffers=False)


def average_of(model: DetectorModel, decay: float) -> AveragedModel:
    """Return a copy of a model for an exponential moving average of its weights and buffers."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
