"""Processing of clips in worker processes, where a decoder that hangs or crashes affects only its own clip."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures import TimeoutError as TaskTimeoutError
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from utils.terminal import log_printable_text

TaskT = TypeVar("TaskT")

TASKS_IN_FLIGHT_PER_WORKER = 4
EXTRACTION_PRELOAD, SCORING_PRELOAD = "dataset.worker_preload", "dataset.extraction_worker"
"""Modules that workers inherit from the fork server. Scoring loads the compiler of the colour histograms only if needed."""

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
    memory_gb: float | None = None,
    ordered: bool = True,
) -> Generator[tuple[TaskT, Any | None, str], None, None]:
    """Run `function(task)` in worker processes.

    Args:
        function: a module-level function. It should report failures in its result instead of raising.
        tasks: picklable arguments, consumed lazily, a few per worker ahead.
        workers: number of processes, at least 1.
        timeout_s: a task that runs longer is killed with its worker.
        memory_gb: memory limit per worker; see `limit_memory`.
        ordered: yield in task order; otherwise in order of completion, so that a long task does not leave workers idle.

    Yields:
        (task, result, ""), or (task, `None`, reason code `timeout` or `crashed`).
    """
    waiting = iter(tasks)
    pool = ProcessPool(max_workers=workers, initializer=prepare_worker, initargs=[memory_gb], context=start_method())
    in_flight: dict[Any, TaskT] = {}
    try:
        while True:
            room = workers * TASKS_IN_FLIGHT_PER_WORKER - len(in_flight)
            for task in itertools.islice(waiting, room):
                in_flight[pool.schedule(function, args=[task], timeout=timeout_s)] = task
            if not in_flight:
                break
            finished = [next(iter(in_flight))] if ordered else wait(in_flight, return_when=FIRST_COMPLETED).done
            for future in finished:
                yield in_flight.pop(future), *outcome(future)
        pool.close()
    finally:
        # This also runs on early exit and Ctrl-C. Tasks can be stopped safely because output files are written atomically.
        pool.stop()
        pool.join()


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
