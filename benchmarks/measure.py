"""Timing on a shared machine: compared tasks are interleaved, and the minimum over the repetitions is reported."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.setting import Row, row

SubjectT = TypeVar("SubjectT")


@dataclass(frozen=True)
class Cost:
    """Processor time (including child processes that have ended) and wall-clock time, in seconds."""

    cpu_s: float
    wall_s: float


NEVER = Cost(math.inf, math.inf)


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def cost_of(task: Callable[[], object]) -> Cost:
    """Measure the cost of one call."""
    cpu_s, wall_s = cpu_seconds(), time.perf_counter()
    task()
    return Cost(cpu_seconds() - cpu_s, time.perf_counter() - wall_s)


def compare(
    tasks: Mapping[str, Callable[[SubjectT], object]],
    subjects: Sequence[SubjectT],
    repetitions: int,
    *,
    warm_up: bool = True,
) -> dict[str, Cost]:
    """Measure the mean cost of each task over the subjects.

    For each subject, the tasks run one after the other. Load from other processes therefore affects all tasks alike.
    For each pair of task and subject, the smallest processor time and the smallest wall-clock time are used.

    Args:
        tasks: functions of a subject, by name.
        subjects: inputs of the tasks, for example clips.
        repetitions: number of rounds over all subjects.
        warm_up: call each task once without timing it, to exclude lazy imports and compilation. Not needed for whole
            commands.
    """
    for task in tasks.values() if warm_up else ():
        task(subjects[0])
    best = {name: [NEVER] * len(subjects) for name in tasks}
    for _ in range(repetitions):
        for index, subject in enumerate(subjects):
            for name, task in tasks.items():
                cost = cost_of(lambda task=task, subject=subject: task(subject))
                least = best[name][index]
                best[name][index] = Cost(min(least.cpu_s, cost.cpu_s), min(least.wall_s, cost.wall_s))
    count = len(subjects)
    return {
        name: Cost(sum(cost.cpu_s for cost in costs) / count, sum(cost.wall_s for cost in costs) / count)
        for name, costs in best.items()
    }


def cost_rows(benchmark: str, costs: Mapping[str, Cost], unit: str, *, floor: str, reference: str = "") -> list[Row]:
    """Return the processor and wall-clock time of each task in ms, with ratios to the tasks `floor` and `reference`."""
    rows = []
    for kind, seconds in (("processor", "cpu_s"), ("clock", "wall_s")):
        ms = {name: 1e3 * getattr(cost, seconds) for name, cost in costs.items()}
        rows += [
            row(benchmark, f"{name}, {kind}", value, unit, floor=ms[floor], reference=ms.get(reference, 0.0))
            for name, value in ms.items()
        ]
    return rows


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Limit OpenCV and the numeric libraries to one thread, as in a worker."""
    import cv2
    from threadpoolctl import threadpool_limits

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(threads)


@contextlib.contextmanager
def pinned_to_one_core() -> Iterator[None]:
    """Like `one_core`, and on Linux also keep this thread and the threads that it starts on one core."""
    if not hasattr(os, "sched_setaffinity"):
        with one_core():
            yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with one_core():
            yield
    finally:
        os.sched_setaffinity(0, cores)
