"""The processes of a run that `torchrun` starts: one per GPU, or several on CPUs. Without torchrun there is one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def sum(self, numbers: np.ndarray) -> np.ndarray:
        """Return the sum of an array of numbers over all processes."""
        return self._reduced(numbers, dist.ReduceOp.SUM)

    def maximum(self, number: int) -> int:
        """Return the largest of the processes' numbers."""
        return int(self._reduced(np.array(number), dist.ReduceOp.MAX))

    def _reduced(self, numbers: np.ndarray, operation: dist.ReduceOp.RedOpType) -> np.ndarray:
        if self.size == 1:
            return numbers
        tensor = torch.from_numpy(numbers.copy())
        dist.all_reduce(tensor, operation)
        return tensor.numpy()


def current_processes() -> Processes:
    """Return the processes of the current run."""
    if dist.is_available() and dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    return Processes()
