"""The state of a training: model, optimiser, selection, and the running means of an epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from engine.resume import ResumedRun
from models.base import DetectorModel


@dataclass
class TrainingState:
    """State carried from epoch to epoch in addition to the weights and the optimiser.

    Attributes:
        next_epoch: the epoch to train next, from 1.
        best_auc: best validation AUC so far.
        best_epoch: the first epoch with that AUC.
    """

    next_epoch: int = 1
    best_auc: float = -1.0
    best_epoch: int = 0

    def finish_epoch(self, epoch: int, auc: float) -> bool:
        """Record a finished epoch and return whether it is the best so far."""
        is_best = auc > self.best_auc
        if is_best:
            self.best_auc, self.best_epoch = auc, epoch
        self.next_epoch = epoch + 1
        return is_best


class Learner:
    """A model with its optimiser and training state."""

    def __init__(self, model: DetectorModel, resumed: ResumedRun | None = None) -> None:
        """Start from the model's weights, or continue from a snapshot."""
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters())
        self.state = TrainingState()
        if resumed is not None:
            self.optimizer.load_state_dict(resumed.training["optimizer"])
            self.state = TrainingState(**resumed.training["state"])

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def snapshot(self) -> dict[str, Any]:
        """Return everything except the weights, as tensors and plain types."""
        return {"optimizer": self.optimizer.state_dict(), "state": vars(self.state).copy()}


@dataclass
class EpochMeans:
    """Running means over the clips of an epoch."""

    n: int = 0
    n_seen: int = 0
    sums: dict[str, float] = field(default_factory=lambda: {"loss": 0.0, "acc": 0.0})

    def add(self, n_seen: int, n: int, **means: float) -> None:
        """Add a batch of `n_seen` clips with the means over its `n` usable ones."""
        self.n_seen += n_seen
        self.n += n
        for name, mean in means.items():
            self.sums[name] += mean * n

    def mean(self, name: str) -> float:
        """Return the mean so far; 0 before the first clip."""
        return self.sums[name] / max(self.n, 1)
