"""The state of a training besides weights and optimiser: the selected epoch, and the running means of an epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from engine.processes import Processes
from engine.train_config import TrainConfig


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

    def is_finished(self, settings: TrainConfig) -> bool:
        """Return whether no epoch is left to train."""
        return self.next_epoch > settings.epochs or self.stops_early(settings)

    def stops_early(self, settings: TrainConfig) -> bool:
        """Return whether `train.patience` ends the training before its last epoch."""
        done = self.next_epoch - 1
        waited = done - self.best_epoch
        return settings.patience is not None and done < settings.epochs and waited >= settings.patience


@dataclass
class EpochMeans:
    """Running means over the clips of an epoch."""

    n: int = 0
    n_seen: int = 0
    sums: dict[str, float] = field(default_factory=lambda: {"loss": 0.0, "acc": 0.0})

    def add(self, n: int, **means: float) -> None:
        """Add the means over `n` usable clips."""
        self.n += n
        for name, mean in means.items():
            self.sums[name] += mean * n

    def mean(self, name: str) -> float:
        """Return the mean so far; 0 before the first clip."""
        return self.sums[name] / max(self.n, 1)

    def over(self, processes: Processes) -> EpochMeans:
        """Return the means over the clips of all processes."""
        numbers = processes.sum(np.array([self.n, self.n_seen, *self.sums.values()]))
        sums = dict(zip(self.sums, numbers[2:].tolist(), strict=True))
        return EpochMeans(int(numbers[0]), int(numbers[1]), sums)
