"""A pool of worker processes with limits on time and memory, which outlives the death of its processes."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as TaskTimeoutError
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, forkserver, resource_tracker
from pathlib import Path
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from utils.errors import WorkError
from utils.interruption import interruption_deferred
from utils.terminal import log_printable_text

TaskT = TypeVar("TaskT")

TASKS_IN_FLIGHT_PER_WORKER = 4
POOL_CHECK_S = 1.0
MAX_RESTARTS = 2
"""Restarts without a result after which the oldest task counts as crashed: it may be what kills the workers.

Before the first result of a pool, the workers themselves count as broken instead.
"""

NEVER_STARTED = (
    "the worker processes end before their first task; a script that uses workers must call them below "
    "`if __name__ == '__main__':`"
)

EXTRACTION_PRELOAD, SCORING_PRELOAD = "dataset.worker_preload", "dataset.extraction_worker"
"""Modules that workers inherit from the fork server. Scoring loads the compiler of the colour histograms only if needed."""

REPOSITORY = Path(__file__).resolve().parents[1]

log = logging.getLogger(__name__)


def prepare_worker(memory_gb: float | None = None) -> None:
    """Limit a worker to one core and ignore Ctrl-C; the parent handles it by stopping its workers.

    Args:
        memory_gb: see `limit_memory`.
    """
    import cv2
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A handler in Python would wait for the end of the decoder's current call, which may take seconds.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(1)
    threadpool_limits(1)
    log_printable_text()
    limit_memory(memory_gb)
    threading.Thread(target=exit_with_parent, daemon=True).start()


def exit_with_parent() -> None:
    """Wait for the death of the process that started this worker, then exit. A killed parent cannot stop its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


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
    """Start the fork server early, so that it imports the workers' modules while the command imports its own.

    The server and its workers do not receive Ctrl-C, which would print their tracebacks.
    """
    if start_method(preload).get_start_method() != "forkserver":
        return
    resource_tracker.ensure_running()  # the fork server would start it, which ends the blocking of signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Processes(ProcessPool):
    """Processes that are ended before what they share is deleted. One that is still starting would print a traceback."""

    def _stop_pool(self) -> None:
        if self._pool_manager_loop is not None:
            self._pool_manager_loop.join()
        self._pool_manager.worker_manager.force_stop_workers()
        super()._stop_pool()


class WorkerPool(Generic[TaskT]):
    """Worker processes with the tasks in flight. A pool whose workers all died between two tasks is replaced.

    Queues and futures are used while Ctrl-C is deferred: it could leave one of their locks closed, and `stop` would wait for it
    forever.

    Attributes:
        capacity: maximum number of tasks in flight.
    """

    def __init__(
        self, function: Callable[[TaskT], Any], workers: int, timeout_s: float, memory_gb: float | None
    ) -> None:
        """Start no process yet; see `dataset.workers.run_in_workers` for the arguments.

        Raises:
            SystemExit: this process is a worker that still imports the script that started it.
        """
        self._function = function
        self._workers = workers
        self._timeout_s = timeout_s
        self._memory_gb = memory_gb
        self.capacity = workers * TASKS_IN_FLIGHT_PER_WORKER
        self._restarts = 0
        self._ever_finished = False
        self._start()

    def __len__(self) -> int:
        """Return the number of tasks in flight."""
        return len(self._in_flight)

    def submit(self, task: TaskT) -> None:
        """Schedule a task."""
        with interruption_deferred():
            try:
                self._schedule(task)
            except RuntimeError:  # the pool is broken
                self._restart()
                self._schedule(task)

    def finished(self, ordered: bool) -> list[tuple[TaskT, Any | None, str]]:
        """Wait for tasks and return the oldest one, or all that have finished if not `ordered`; see `run_in_workers`.

        Raises:
            WorkError: all workers died before their first task, several times.
        """
        while True:
            with interruption_deferred():
                results = self._collect(ordered)
            if results:
                return results
            with contextlib.suppress(queue.Empty):
                self._wake_ups.get(timeout=POOL_CHECK_S)

    def stop(self) -> None:
        """End all processes."""
        with interruption_deferred():
            self._pool.stop()
            self._pool.join()

    def _collect(self, ordered: bool) -> list[tuple[TaskT, Any | None, str]]:
        """Return the results of the tasks that `finished` waits for, without waiting. Replace a broken pool."""
        awaited = [next(iter(self._in_flight))] if ordered else list(self._in_flight)
        done = [future for future in awaited if future.done()]
        sound = [future for future in done if not isinstance(future.exception(), BrokenProcessPool)]
        if sound:
            self._restarts, self._ever_finished = 0, True
            return [(self._in_flight.pop(future), *outcome(future)) for future in sound]
        if done or not self._pool.active:
            if self._restarts == MAX_RESTARTS:
                if not self._ever_finished:
                    raise WorkError(NEVER_STARTED)
                self._restarts = 0
                return [(self._in_flight.pop(next(iter(self._in_flight))), None, "crashed")]
            self._restart()
        return []

    def _start(self) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            # A worker imports the script that it was started from. Without a guard, the script starts workers there again.
            # Its parent reports that, so the worker ends without a traceback.
            sys.exit(1)
        warm_up()
        self._pool = _Processes(
            max_workers=self._workers,
            initializer=prepare_worker,
            initargs=[self._memory_gb],
            context=start_method(),
        )
        self._in_flight: dict[Any, TaskT] = {}
        self._wake_ups: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def _schedule(self, task: TaskT) -> None:
        future = self._pool.schedule(self._function, args=[task], timeout=self._timeout_s)
        self._in_flight[future] = task
        future.add_done_callback(self._wake_ups.put)

    def _restart(self) -> None:
        """Replace the processes and schedule the tasks in flight again."""
        log.warning("all workers died while idle; %d tasks are started again", len(self))
        self._restarts += 1
        tasks = list(self._in_flight.values())
        self.stop()
        self._start()
        for task in tasks:
            self._schedule(task)


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
