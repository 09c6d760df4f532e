"""Processing of clips in worker processes, where a decoder that hangs or crashes affects only its own clip."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures import TimeoutError as TaskTimeoutError
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from utils.terminal import log_printable_text

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

TASKS_IN_FLIGHT_PER_WORKER = 4
POOL_CHECK_S = 1.0
MAX_RESTARTS = 2
"""Restarts without a result after which the oldest task counts as crashed: it may be what kills the workers."""

EXTRACTION_PRELOAD, SCORING_PRELOAD = "dataset.worker_preload", "dataset.extraction_worker"
"""Modules that workers inherit from the fork server. Scoring loads the compiler of the colour histograms only if needed."""

CLIP_MEMORY_GB = 8.0
"""Memory limit of a worker that decodes clips, in GB. One 8K frame with a decoder's reference frames takes about 1 GB."""

REPOSITORY = Path(__file__).resolve().parents[1]

log = logging.getLogger(__name__)


def default_workers() -> int:
    """Return the number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def worker_count(asked: int, tasks: int) -> int:
    """Return the number of processes: the requested number (0: one per core), but at most one per task and at least one."""
    return max(1, min(asked or default_workers(), tasks))


def worker_settings(workers: int | None) -> list[str]:
    """Return config overrides of the extraction and loader workers for the option `--workers`; empty if it is not set."""
    if workers is None:
        return []
    # In the config, 0 loader processes means loading in the main process.
    return [f"extraction.workers={workers}", f"data.workers={workers or default_workers()}"]


def prepare_worker(memory_gb: float | None = None) -> None:
    """Limit a worker to one core and ignore Ctrl-C; the parent handles it by stopping its workers.

    Args:
        memory_gb: see `limit_memory`.
    """
    import cv2
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threadpool_limits(1)
    log_printable_text()
    limit_memory(memory_gb)


def limit_memory(memory_gb: float | None) -> None:
    """Limit the writable memory of this process to `memory_gb` GB, beyond which allocations fail; `None` for no limit.

    Reserved addresses do not count, unlike with RLIMIT_AS: numerical libraries reserve many more than they use. Systems
    other than Linux have no such limit.
    """
    if memory_gb is None or not sys.platform.startswith("linux"):
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = round(memory_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def start_method(preload: str = EXTRACTION_PRELOAD) -> multiprocessing.context.BaseContext:
    """Return a fork server with a preloaded module, which starts workers in milliseconds; `spawn` if there is none.

    A fork server that is already running keeps what it has loaded.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # The server is a new interpreter, which finds our packages only through this variable.
    paths = [str(REPOSITORY), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    context.set_forkserver_preload([preload])
    return context


def warm_up(preload: str = EXTRACTION_PRELOAD) -> None:
    """Start the fork server early, so that it imports the workers' modules while the command imports its own."""
    if start_method(preload).get_start_method() == "forkserver":
        forkserver.ensure_running()


def run_in_workers(
    function: Callable[[TaskT], Any],
    tasks: Iterable[TaskT],
    *,
    workers: int,
    timeout_s: float,
    memory_gb: float | None = CLIP_MEMORY_GB,
    ordered: bool = True,
) -> Generator[tuple[TaskT, Any | None, str], None, None]:
    """Run `function(task)` in worker processes.

    Args:
        function: a module-level function. It should report failures in its result instead of raising.
        tasks: picklable arguments, consumed lazily, a few per worker ahead.
        workers: number of processes, at least 1.
        timeout_s: a task that runs longer is killed with its worker.
        memory_gb: memory limit per worker; see `limit_memory`. Pass `None` only for tasks that open no clips.
        ordered: yield in task order; otherwise in order of completion, so that a long task does not leave workers idle.

    Yields:
        (task, result, ""), or (task, `None`, reason code `timeout` or `crashed`).
    """
    waiting = iter(tasks)
    pool = WorkerPool(function, workers, timeout_s, memory_gb)
    try:
        while True:
            for task in itertools.islice(waiting, workers * TASKS_IN_FLIGHT_PER_WORKER - len(pool)):
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
) -> Iterator[tuple[ResultT | None, str]]:
    """Run `function(task)` in task order, in worker processes or in this process.

    Args:
        function: see `run_in_workers`.
        tasks: see `run_in_workers`.
        workers: number of processes; 0 for one per core; `None` for this process, without limits.
        total: number of tasks; `None` if unknown.
        timeout_s: see `run_in_workers`.
        memory_gb: see `run_in_workers`.

    Yields:
        (result, ""), or (`None`, reason code).
    """
    if workers is None:
        yield from ((function(task), "") for task in tasks)
        return
    count = worker_count(workers, workers or default_workers() if total is None else total)
    for _, result, reason in run_in_workers(function, tasks, workers=count, timeout_s=timeout_s, memory_gb=memory_gb):
        yield result, reason


def run_in_worker(
    function: Callable[[TaskT], ResultT], task: TaskT, *, timeout_s: float, memory_gb: float | None
) -> tuple[ResultT | None, str]:
    """Run one task in a worker process; see `results_of`."""
    (outcome,) = results_of(function, [task], workers=1, timeout_s=timeout_s, memory_gb=memory_gb)
    return outcome


class WorkerPool(Generic[TaskT]):
    """Worker processes with the tasks in flight. A pool whose workers all died between two tasks is replaced."""

    def __init__(
        self, function: Callable[[TaskT], Any], workers: int, timeout_s: float, memory_gb: float | None
    ) -> None:
        """Start no process yet; see `run_in_workers` for the arguments."""
        self._function = function
        self._workers = workers
        self._timeout_s = timeout_s
        self._memory_gb = memory_gb
        self._restarts = 0
        self._start()

    def __len__(self) -> int:
        """Return the number of tasks in flight."""
        return len(self._in_flight)

    def submit(self, task: TaskT) -> None:
        """Schedule a task."""
        try:
            future = self._schedule(task)
        except RuntimeError:  # the pool is broken
            self._restart()
            future = self._schedule(task)
        self._in_flight[future] = task

    def finished(self, ordered: bool) -> list[tuple[TaskT, Any | None, str]]:
        """Wait for tasks and return them as in `run_in_workers`: the oldest one, or all that have finished if not `ordered`."""
        while True:
            awaited = [next(iter(self._in_flight))] if ordered else list(self._in_flight)
            done = wait(awaited, timeout=POOL_CHECK_S, return_when=FIRST_COMPLETED).done
            sound = [future for future in done if not isinstance(future.exception(), BrokenProcessPool)]
            if sound:
                self._restarts = 0
                return [(self._in_flight.pop(future), *outcome(future)) for future in sound]
            if done or not self._pool.active:
                if self._restarts == MAX_RESTARTS:
                    self._restarts = 0
                    return [(self._in_flight.pop(next(iter(self._in_flight))), None, "crashed")]
                self._restart()

    def stop(self) -> None:
        """End all processes."""
        self._pool.stop()
        self._pool.join()

    def _start(self) -> None:
        self._pool = ProcessPool(
            max_workers=self._workers,
            initializer=prepare_worker,
            initargs=[self._memory_gb],
            context=start_method(),
        )
        self._in_flight: dict[Any, TaskT] = {}

    def _schedule(self, task: TaskT) -> Any:
        return self._pool.schedule(self._function, args=[task], timeout=self._timeout_s)

    def _restart(self) -> None:
        """Replace the processes and schedule the tasks in flight again."""
        log.warning("all workers died while idle; %d tasks are started again", len(self))
        self._restarts += 1
        tasks = list(self._in_flight.values())
        self.stop()
        self._start()
        for task in tasks:
            self._in_flight[self._schedule(task)] = task


def outcome(future: Any) -> tuple[Any | None, str]:
    """Return a future's result, or `None` and the reason code of the failure."""
    try:
        return future.result(), ""
    except TaskTimeoutError:
        return None, "timeout"
    except (ProcessExpired, MemoryError):
        return None, "crashed"
    except Exception:
        # An unexpected error in one clip must not affect the others; the log has its traceback.
        log.exception("a task failed in its worker")
        return None, "crashed"
