"""Processing of clips in worker processes, where a decoder that hangs or crashes affects only its own clip."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from dataset.worker_pool import EXTRACTION_PRELOAD, SCORING_PRELOAD, WorkerPool, warm_up

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

CLIP_MEMORY_GB = 8.0
"""Memory limit of a worker that decodes clips, in GB. One 8K frame with a decoder's reference frames takes about 1 GB."""


class Pool(Protocol):
    """Tasks in flight in the workers of an engine.

    Attributes:
        capacity: maximum number of tasks in flight.
    """

    capacity: int

    def __len__(self) -> int:
        """Return the number of tasks in flight."""

    def submit(self, task: Any) -> None:
        """Schedule a task."""

    def finished(self, ordered: bool) -> list[tuple[Any, Any | None, str]]:
        """Wait for tasks and return them as `run_in_workers` yields them: the oldest one, or all that have finished."""

    def stop(self) -> None:
        """Stop all tasks."""


class Engine(Protocol):
    """Where tasks run."""

    def warm_up(self, *, scoring: bool = False) -> None:
        """Start what can be started before the first task is known; `scoring`: the tasks will be those of `Detector`."""

    def n_cores(self) -> int:
        """Return the number of processor cores available to tasks."""

    def pool(self, function: Callable[[TaskT], Any], workers: int, timeout_s: float, memory_gb: float | None) -> Pool:
        """Return a pool that runs `function` on tasks; see `run_in_workers` for the arguments."""

    def run_jobs(
        self, function: Callable[[TaskT], ResultT], jobs: Sequence[TaskT], *, cores: int
    ) -> Iterator[tuple[ResultT | None, str]]:
        """Run long jobs, which may start processes, and yield their results in order.

        Args:
            function: a module-level function.
            jobs: its picklable arguments.
            cores: number of cores that a job uses.

        Yields:
            (result, ""), or (`None`, reason code) if the process of a job died.
        """


class LocalEngine:
    """Worker processes on this machine. Long jobs run in this process, one after the other."""

    def warm_up(self, *, scoring: bool = False) -> None:
        """Start the fork server; see `Engine`."""
        warm_up(SCORING_PRELOAD if scoring else EXTRACTION_PRELOAD)

    def n_cores(self) -> int:
        """Return the number of cores available to this process."""
        return default_workers()

    def pool(self, function: Callable[[TaskT], Any], workers: int, timeout_s: float, memory_gb: float | None) -> Pool:
        """Return a pool of processes; see `Engine`."""
        return WorkerPool(function, workers, timeout_s, memory_gb)

    def run_jobs(
        self, function: Callable[[TaskT], ResultT], jobs: Sequence[TaskT], *, cores: int
    ) -> Iterator[tuple[ResultT | None, str]]:
        """Run the jobs in this process; see `Engine`."""
        return ((function(job), "") for job in jobs)


LOCAL: Engine = LocalEngine()


def open_engine(name: str) -> Engine:
    """Return the engine `local` or `ray`.

    Raises:
        UsageError: the packages of the engine are not installed.
    """
    if name == "local":
        return LOCAL
    from dataset.ray_engine import RayEngine

    return RayEngine()


def default_workers() -> int:
    """Return the number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def worker_count(asked: int, tasks: int, engine: Engine = LOCAL) -> int:
    """Return the number of processes: the requested number (0: one per core), but at most one per task and at least one."""
    return max(1, min(asked or engine.n_cores(), tasks))


def worker_settings(workers: int | None) -> list[str]:
    """Return config overrides of the extraction and loader workers for the option `--workers`; empty if it is not set."""
    if workers is None:
        return []
    # In the config, 0 loader processes means loading in the main process.
    return [f"extraction.workers={workers}", f"data.workers={workers or default_workers()}"]


def run_in_workers(
    function: Callable[[TaskT], Any],
    tasks: Iterable[TaskT],
    *,
    workers: int,
    timeout_s: float,
    memory_gb: float | None = CLIP_MEMORY_GB,
    ordered: bool = True,
    engine: Engine = LOCAL,
) -> Generator[tuple[TaskT, Any | None, str], None, None]:
    """Run `function(task)` in worker processes.

    Args:
        function: a module-level function. It should report failures in its result instead of raising.
        tasks: picklable arguments, consumed lazily, a few per worker ahead.
        workers: number of processes, at least 1.
        timeout_s: a task that runs longer is killed with its worker.
        memory_gb: memory limit per worker; see `limit_memory`. Pass `None` only for tasks that open no clips.
        ordered: yield in task order; otherwise in order of completion, so that a long task does not leave workers idle.
        engine: where the tasks run.

    Yields:
        (task, result, ""), or (task, `None`, reason code `timeout` or `crashed`).

    Raises:
        WorkError: the workers end before their first task.
    """
    waiting = iter(tasks)
    pool = engine.pool(function, workers, timeout_s, memory_gb)
    try:
        while True:
            for task in itertools.islice(waiting, pool.capacity - len(pool)):
                pool.submit(task)
            if not len(pool):
                break
            yield from pool.finished(ordered)
    finally:
        # This also runs on early exit and Ctrl-C. Tasks can be stopped safely because output files are written atomically.
        pool.stop()


def results_of(
    function: Callable[[TaskT], ResultT],
    tasks: Iterable[TaskT],
    *,
    workers: int | None,
    total: int | None = None,
    timeout_s: float,
    memory_gb: float | None,
    engine: Engine = LOCAL,
) -> Iterator[tuple[ResultT | None, str]]:
    """Run `function(task)` in task order, in worker processes or in this process.

    Args:
        function: see `run_in_workers`.
        tasks: see `run_in_workers`.
        workers: number of processes; 0 for one per core; `None` for this process, without limits.
        total: number of tasks; `None` if unknown.
        timeout_s: see `run_in_workers`.
        memory_gb: see `run_in_workers`.
        engine: where the workers run.

    Yields:
        (result, ""), or (`None`, reason code).
    """
    if workers is None:
        yield from ((function(task), "") for task in tasks)
        return
    count = worker_count(workers, workers or engine.n_cores() if total is None else total, engine)
    for _, result, reason in run_in_workers(
        function, tasks, workers=count, timeout_s=timeout_s, memory_gb=memory_gb, engine=engine
    ):
        yield result, reason


def run_in_worker(
    function: Callable[[TaskT], ResultT], task: TaskT, *, timeout_s: float, memory_gb: float | None
) -> tuple[ResultT | None, str]:
    """Run one task in a worker process; see `results_of`."""
    (outcome,) = results_of(function, [task], workers=1, timeout_s=timeout_s, memory_gb=memory_gb)
    return outcome
