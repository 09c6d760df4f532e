"""Steps of the optimiser: the clips of each step, and their share in the loss over all batches and processes of the step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from dataset.batch import Batch
from dataset.samples import grouped
from engine.learner import Learner


class Batches(Protocol):
    """The batches of an epoch, with something else that is not used."""

    def __iter__(self) -> Iterator[tuple[Batch, Any]]:
        """Iterate over the batches."""

    def __len__(self) -> int:
        """Return the number of batches."""


@dataclass(frozen=True)
class Part:
    """The clips of one batch that this process trains on.

    Attributes:
        batch: usable clips. If this process has none in the batch, clips of an earlier one with a share of 0: all processes
            take part in every step.
        n: number of usable clips of this process.
        share: factor of the mean loss over `batch`. Averaged over the processes, the sum over all parts is the mean loss of
            the step's clips.
    """

    batch: Batch
    n: int
    share: float


@dataclass(frozen=True)
class Step:
    """One step of the optimiser.

    Attributes:
        parts: one per batch with a usable clip in any process.
        n_seen: number of clips of this process, usable or not.
        mean_weight: mean loss weight of the step's clips.
    """

    parts: list[Part]
    n_seen: int
    mean_weight: float


class EpochSteps:
    """The steps of an epoch, from the batches of this process. Every process has the same number of steps."""

    def __init__(self, learner: Learner, batches: Batches) -> None:
        """Use the batches of this process: as many as every other process has, or one less than some."""
        self._batches = batches
        self._model = learner.model
        self._device = learner.device
        self._weights = learner.class_weights or (1.0, 1.0)
        self._accumulate = learner.settings.accumulate
        self._processes = learner.processes
        self._width = math.ceil(learner.settings.batch_size / learner.processes.size)
        self._n_batches = learner.processes.maximum(len(batches))
        self._spare: Batch | None = None

    def __len__(self) -> int:
        """Return the number of steps."""
        return math.ceil(self._n_batches / self._accumulate)

    def __iter__(self) -> Iterator[Step]:
        """Yield the steps."""
        padded = itertools.chain((batch for batch, _ in self._batches), itertools.repeat(None))
        for window in grouped(itertools.islice(padded, self._n_batches), self._accumulate):
            yield self._step(window)

    def _step(self, window: Sequence[Batch | None]) -> Step:
        """Return the step of several batches; `None` stands for a batch without a clip of this process."""
        usable = [None if batch is None else self._model.usable(batch).cpu().numpy() for batch in window]
        weights = self._processes.sum(self._own_weights(window, usable))
        total, n_total = float(weights.sum()), int((weights > 0).sum())
        parts = []
        for row, (batch, mask) in enumerate(zip(window, usable, strict=True)):
            # Usable clips have positive weights. Their order over all processes is that of the batch of a single process.
            present = weights[row].T.ravel() > 0
            if not present.any():
                continue
            n = 0 if mask is None else int(mask.sum())
            if batch is None or mask is None or n == 0:
                chosen = self._spare or batch
                if chosen is None:
                    raise RuntimeError("a process has no clip in the first batch of an epoch")
                places = np.zeros(len(chosen), np.int64)
            else:
                chosen = self._spare = batch if mask.all() else batch.select(torch.from_numpy(mask))
                places = (np.cumsum(present) - 1)[self._processes.rank :: self._processes.size][: len(mask)][mask]
            if self._processes.size > 1:
                draws = torch.rand(int(present.sum()), device=self._device)
                chosen = replace(chosen, draws=draws[torch.from_numpy(places)])
            parts.append(Part(chosen, n, n * self._processes.size / total))
        n_seen = sum(len(batch) for batch in window if batch is not None)
        return Step(parts, n_seen, total / max(n_total, 1))

    def _own_weights(self, window: Sequence[Batch | None], usable: Sequence[np.ndarray | None]) -> np.ndarray:
        """Return the loss weights of this process's clips, (batches, processes, clips) float64; 0 if not usable."""
        weights = np.zeros((len(window), self._processes.size, self._width))
        for row, (batch, mask) in enumerate(zip(window, usable, strict=True)):
            if batch is not None and mask is not None:
                real, fake = self._weights
                own = np.where(batch.target.cpu().numpy() > 0.5, fake, real) * mask
                weights[row, self._processes.rank, : len(own)] = own
        return weights
