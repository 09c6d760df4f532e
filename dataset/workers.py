"""Worker processes for clips. A decoder that hangs or crashes costs one clip only."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures import TimeoutError as TaskTimeoutError
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

TaskT = TypeVar("TaskT")

TASKS_IN_FLIGHT_PER_WORKER = 4
REPOSITORY = Path(__file__).resolve().parents[1]

log = logging.getLogger(__name__)


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def worker_count(asked: int, tasks: int) -> int:
    """Return the number of processes: `asked` (0: one per core), at most one per task, and at least one."""
    return max(1, min(asked or default_workers(), tasks))


def worker_settings(workers: int | None) -> list[str]:
    """Return the option `--workers` as config overrides of extraction and of batch loading; none if it was not given."""
    if workers is None:
        return []
    # In the config, 0 loading processes means loading in the main process.
    return [f"extraction.workers={workers}", f"data.workers={workers or default_workers()}"]


def prepare_worker() -> None:
    """Limit a worker to one core and ignore Ctrl-C in it: the parent handles Ctrl-C and ends its workers."""
    import cv2
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threadpool_limits(1)


def start_method() -> multiprocessing.context.BaseContext:
    """Return a fork server with preloaded modules, which replaces a dead worker in milliseconds; else `spawn`."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # The server is a fresh interpreter that finds our packages by this variable only.
    paths = [str(REPOSITORY), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    context.set_forkserver_preload(["dataset.worker_preload"])
    return context


def warm_up() -> None:
    """Start the fork server ahead of time: it loads the workers' modules on another core while a command loads its own."""
    if start_method().get_start_method() == "forkserver":
        forkserver.ensure_running()


def run_in_workers(
    function: Callable[[TaskT], Any], tasks: Iterable[TaskT], *, workers: int, timeout_s: float, ordered: bool = True
) -> Generator[tuple[TaskT, Any | None, str], None, None]:
    """Run `function(task)` in worker processes.

    Args:
        function: a module-level function; it should report failures in its result, not raise.
        tasks: picklable arguments; taken lazily, a few per worker ahead.
        workers: number of processes, at least 1.
        timeout_s: a task that runs longer is ended with its worker.
        ordered: yield in the order of the tasks; else as they finish, and a long task does not block the others.

    Yields:
        (task, result, ""), or (task, `None`, reason code `timeout` or `crashed`).
    """
    waiting = iter(tasks)
    pool = ProcessPool(max_workers=workers, initializer=prepare_worker, context=start_method())
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
        # Also reached if the caller stops early or Ctrl-C arrives. Running tasks are ended; no file is left incomplete.
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
        # An error in our code or in a library must not affect the other clips; the log has the traceback.
        log.exception("a task failed in its worker")
        return None, "crashed"
