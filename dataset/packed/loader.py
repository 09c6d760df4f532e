"""Batches of packed features: gathered as integers by threads, then decoded and augmented on the device."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from dataset.batch import Batch, Modality
from dataset.packed.augment import BatchAugment
from dataset.packed.index import FIXED_POINT_MAX
from dataset.packed.read import PackedArray, PackedFeatures
from dataset.samples import InputLayout
from utils.features.clip import ClipFacts


@dataclass(frozen=True)
class PackedBatch(Batch):
    """B clips whose inputs are still in the types of the files; `to` decodes them.

    Attributes:
        augment: applied after decoding; `None` for none.
    """

    augment: BatchAugment | None = None

    def apply(self, change: Callable[[Tensor], Tensor]) -> PackedBatch:
        """Apply a function to every tensor and return the new batch."""
        changed = super().apply(change)
        return replace(self, index=changed.index, target=changed.target, inputs=changed.inputs, draws=changed.draws)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device, with fixed-point values as float32, and augmented."""
        moved = super().to(device)
        inputs = {name: Modality(decoded(modality.values), modality.mask) for name, modality in moved.inputs.items()}
        batch = Batch(moved.index, moved.target, inputs, moved.draws)
        return batch if self.augment is None else self.augment(batch)


def decoded(values: Tensor) -> Tensor:
    """Return fixed-point values as float32 in [0, 1], and other values unchanged."""
    return values.to(torch.float32).div_(FIXED_POINT_MAX) if values.dtype == torch.uint16 else values


class PackedBatches:
    """The clips of a split as packed batches."""

    def __init__(self, source: PackedFeatures, targets: np.ndarray, layout: InputLayout, *, pin_memory: bool) -> None:
        """Use the arrays of `layout`. `targets` are those of all clips, (N,) float32."""
        self._source = source
        self._targets = targets
        self._names = [spec.name for spec in layout.specs]
        self._pin = pin_memory

    def collect(self, rows: list[int], augment: BatchAugment | None = None) -> tuple[PackedBatch, list[ClipFacts]]:
        """Return a batch of the clips in these rows of the label table, and their facts."""
        index = np.array(rows, np.int64)
        inputs = {name: self._gather(self._source.arrays[name], index) for name in self._names}
        batch = PackedBatch(torch.from_numpy(index), torch.from_numpy(self._targets[index]), inputs, augment=augment)
        return batch, self._source.facts(index)

    def _gather(self, array: PackedArray, rows: np.ndarray) -> Modality:
        kind = torch.from_numpy(np.empty(0, np.dtype(array.header.stored))).dtype
        values = torch.empty((len(rows), *array.header.shape), dtype=kind, pin_memory=self._pin)
        return Modality(values, torch.from_numpy(array.gather(rows, values.numpy()).mask))


class PackedLoader:
    """A loader of (batch, facts) pairs. Threads gather the next batches while one is used."""

    def __init__(
        self,
        collect: Callable[[list[int]], tuple[Batch, list[ClipFacts]]],
        batches: Sampler[list[int]],
        *,
        threads: int,
    ) -> None:
        """Gather each list of rows in `batches` with `collect`, in `threads` threads; 0 gathers in the calling one."""
        self._collect = collect
        self._batches = batches
        self._threads = threads

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[Batch, list[ClipFacts]]]:
        """Yield the batches in order."""
        if not self._threads:
            yield from map(self._collect, self._batches)
            return
        batches = iter(self._batches)
        waiting: deque[Future[tuple[Batch, list[ClipFacts]]]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="packed") as pool:
            waiting.extend(pool.submit(self._collect, rows) for rows in itertools.islice(batches, self._threads + 1))
            while waiting:
                ready = waiting.popleft().result()
                waiting.extend(pool.submit(self._collect, rows) for rows in itertools.islice(batches, 1))
                yield ready
