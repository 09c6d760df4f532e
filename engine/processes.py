"""The processes of a run that `torchrun` starts: one per GPU, or several on CPUs. Without torchrun there is one.

Every process executes the same code. Training batches and scored clips are divided among the processes; process 0, the main
process, alone writes files and prints.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist

from engine.device import pick_device
from utils.errors import UsageError, WorkError
from utils.torchrun import started_by_torchrun

ResultT = TypeVar("ResultT")

POLL_S = 0.05
CONNECTION_ERRORS = ("gloo", "nccl", "connection", "timed out", "timeout", "store")
"""Words of torch's errors when another process has ended or does not answer."""


class Processes:
    """This process among those of the run.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: dist.Store | None = None) -> None:
        """Use the store that all processes share; `None` if there is one process without torchrun."""
        self.rank = rank
        self.size = size
        self._store = store
        self._launcher = os.getppid()
        self._waits = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    @property
    def is_group(self) -> bool:
        """Whether torchrun has started the run, also if with one process only."""
        return self._store is not None

    def sum(self, numbers: np.ndarray) -> np.ndarray:
        """Return the sum of an array of numbers over all processes."""
        return self._reduced(numbers, dist.ReduceOp.SUM)

    def maximum(self, number: int) -> int:
        """Return the largest of the processes' numbers."""
        return int(self._reduced(np.array(number), dist.ReduceOp.MAX))

    def gather(self, item: ResultT) -> list[ResultT]:
        """Return the items of all processes, in the order of their ranks."""
        if self.size == 1:
            return [item]
        items: list[ResultT | None] = [None] * self.size
        dist.all_gather_object(items, item)
        return items  # type: ignore[return-value]

    def on_main(self, function: Callable[[], ResultT]) -> ResultT:
        """Call a function in the main process, however long it takes, and return its result in every process."""
        if self.size == 1 or self._store is None:
            return function()
        self._waits += 1
        key = f"wait/{self._waits}"
        results: list[ResultT | None] = [None]
        if self.is_main:
            results = [function()]
            self._store.set(key, "done")
        while not self._store.check([key]):
            self.check_launcher()
            time.sleep(POLL_S)
        dist.broadcast_object_list(results, src=0)
        return results[0]  # type: ignore[return-value]

    def average_buffers(self, module: torch.nn.Module) -> None:
        """Set the floating-point buffers of a module, such as the statistics of normalisation, to their mean over processes."""
        if self.size == 1:
            return
        for buffer in module.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= self.size

    def check_launcher(self) -> None:
        """Check that torchrun still runs.

        Raises:
            WorkError: it was killed. Its processes would train on, while the run may be started again.
        """
        if self.is_group and os.getppid() != self._launcher:
            raise WorkError("torchrun has ended without stopping its processes; continue the run with --resume")

    def _reduced(self, numbers: np.ndarray, operation: dist.ReduceOp.RedOpType) -> np.ndarray:
        if self.size == 1:
            return numbers
        tensor = torch.from_numpy(numbers.copy())
        dist.all_reduce(tensor, operation)
        return tensor.numpy()


_groups: list[Processes] = []
"""The process group that this process has joined, if any."""


def current_processes() -> Processes:
    """Return the processes of the current run."""
    return _groups[-1] if _groups else Processes()


@contextlib.contextmanager
def process_group(device_name: str, timeout_s: float) -> Iterator[torch.device]:
    """Join the processes that torchrun has started within the block, and yield the device of this process.

    Args:
        device_name: the config's device. `auto` and `cuda` give each process a GPU, `cpu` lets them share the cores.
        timeout_s: how long a process waits for the others.

    Raises:
        UsageError: the device cannot be used, or there are more processes than GPUs.
        WorkError: another process ended or did not answer.
    """
    if not started_by_torchrun():
        yield pick_device(device_name)
        return
    device = process_device(device_name)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        store, _, _ = next(dist.rendezvous("env://", rank, size, timeout=timedelta(seconds=timeout_s)))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=dist.PrefixStore("group", store),
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=timeout_s),
        )
        _groups.append(Processes(rank, size, dist.PrefixStore("multi_ffdv", store)))
        yield device
    except RuntimeError as error:
        if not is_connection_error(error):
            raise
        raise lost_connection(timeout_s, "start the command again") from error
    finally:
        _groups.clear()
    # After an error, the group is not taken down, because that would wait for the other processes.
    dist.destroy_process_group()


def process_device(name: str) -> torch.device:
    """Return the device of this process among those of the same machine.

    Raises:
        UsageError: it cannot be used with torchrun, or there are more processes than GPUs.
    """
    device = pick_device(name)
    if device.type == "mps":
        raise UsageError("torchrun needs CUDA devices or device=cpu")
    if device.type == "cuda":
        local, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if device.index is not None:
            raise UsageError(f"device {name!r}: torchrun gives each process a GPU of its own; set device=cuda")
        if local >= count:
            raise UsageError(f"this machine has {count} GPU(s): use torchrun --nproc_per_node {count}, or device=cpu")
        torch.cuda.set_device(local)
        return torch.device("cuda", local)
    return device


def lost_connection(timeout_s: float, advice: str) -> WorkError:
    """Return the error of a process that another one does not answer, with advice on how to go on."""
    rank, size = os.environ["RANK"], os.environ["WORLD_SIZE"]
    return WorkError(
        f"process {rank} of {size} lost the connection to the others: one of them ended, or did not answer within "
        f"train.timeout_s={timeout_s:g} s; {advice}"
    )


def is_connection_error(error: RuntimeError) -> bool:
    """Return whether torch raised an error because another process ended or did not answer."""
    message = str(error).lower()
    return isinstance(error, dist.DistError) or any(word in message for word in CONNECTION_ERRORS)
