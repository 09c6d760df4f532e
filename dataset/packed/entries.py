"""Reading of stored features as the entries of packed arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from dataset.packed.index import FIXED_POINT_MAX
from dataset.samples import InputLayout
from dataset.splits import Split
from dataset.workers import run_in_workers
from utils.errors import WorkError
from utils.features.base import ArraySpec, MaskedArray
from utils.features.clip import ClipFacts, failed

CHUNK_BYTES = 16_000_000
"""Approximate size of the arrays that a worker returns at once."""

CHUNK_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class PackTask:
    """Some clips to read: their names and the facts of their extraction."""

    split: Split
    inputs: tuple[str, ...]
    clips: list[tuple[str, ClipFacts]]


@dataclass(frozen=True)
class PackedClips:
    """Clips that were read: facts of each, and per array the number of entries of each clip and all entries as bytes."""

    facts: list[ClipFacts]
    counts: dict[str, list[int]]
    entries: dict[str, bytes]


def read_chunks(tasks: Iterable[PackTask], workers: int) -> Iterator[PackedClips]:
    """Read the clips of each task, in order, in this process or in workers.

    Raises:
        WorkError: a worker failed, or a value of a fixed-point array is outside [0, 1].
    """
    if workers < 2:
        yield from map(read_clips, tasks)
        return
    for task, chunk, reason in run_in_workers(read_clips, tasks, workers=workers, timeout_s=CHUNK_TIMEOUT_S):
        if chunk is None:
            # The cause may be a value out of range. Reading again in this process raises its error.
            chunk = read_clips(task)
            if reason == "timeout":
                raise WorkError(f"reading the features of {task.clips[0][0]} and the next clips took too long")
        yield chunk


def read_clips(task: PackTask) -> PackedClips:
    """Read the features of some clips as entries of their arrays.

    Raises:
        WorkError: a value of a fixed-point array is outside [0, 1].
    """
    layout = InputLayout(task.split.store.config, task.inputs)
    facts: list[ClipFacts] = []
    counts: dict[str, list[int]] = {spec.name: [] for spec in layout.specs}
    entries: dict[str, list[bytes]] = {spec.name: [] for spec in layout.specs}
    for name, known in task.clips:
        pending = known.status == "pending"
        clip = failed("not_extracted") if pending else task.split.store.load(name, known, layout.features)
        arrays = layout.arrays(clip)
        facts.append(layout.facts(clip))
        for spec in layout.specs:
            stored = stored_entries(spec, arrays[spec.name], name)
            counts[spec.name].append(len(stored))
            entries[spec.name].append(stored.tobytes())
    return PackedClips(facts, counts, {name: b"".join(parts) for name, parts in entries.items()})


def stored_entries(spec: ArraySpec, array: MaskedArray, clip: str) -> np.ndarray:
    """Return the entries of an array that its mask selects, as they are stored: (N, ...) with N = 0 without entries.

    Raises:
        WorkError: a value of a fixed-point array is outside [0, 1].
    """
    values = array.values[array.mask] if spec.padded else array.values[None][array.mask[None]]
    if not spec.fixed_point:
        return values
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise WorkError(f"{clip}: the array {spec.name} has values outside [0, 1]; extract it again with --overwrite")
    return np.rint(values * FIXED_POINT_MAX).astype(np.uint16)
