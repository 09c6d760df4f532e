"""The engine `ray`: tasks run on the cores of a Ray cluster and are repeated if a worker or a machine dies."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tqdm import tqdm

from dataset.ray_worker import TaskSettings, run_job, run_task
from dataset.worker_pool import REPOSITORY, TASKS_IN_FLIGHT_PER_WORKER
from dataset.workers import default_workers
from utils.errors import UsageError, WorkError
from utils.packages import is_installed

if TYPE_CHECKING:
    import ray

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

ADDRESS = "RAY_ADDRESS"
MAX_RETRIES = 3
"""Number of times a task is repeated after the death of its worker. A clip cannot kill it: decoding has its own process."""

START_ATTEMPTS = 3
"""Ray gives up on a local cluster whose processes take more than 20 s to start, which they may on a busy machine."""

STOP_TIMEOUT_S = 10.0


class RayEngine:
    """A Ray cluster: the one at the address in `RAY_ADDRESS`, else one on this machine that only listens on loopback."""

    def __init__(self) -> None:
        """Connect to no cluster yet.

        Raises:
            UsageError: Ray is not installed.
        """
        if not is_installed("ray"):
            raise UsageError("--engine ray needs the package ray: pip install -r requirements-ray.txt")

    @cached_property
    def _ray(self) -> Any:
        """The module `ray`, connected to the cluster."""
        return connected_ray()

    def warm_up(self, *, scoring: bool = False) -> None:
        """Do nothing: the workers of a cluster start with their first task."""

    def n_cores(self) -> int:
        """Return the number of cores of the cluster."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def pool(
        self, function: Callable[[TaskT], Any], workers: int, timeout_s: float, memory_gb: float | None
    ) -> RayPool[TaskT]:
        """Return a pool of tasks that each take one core; see `Engine`."""
        settings = TaskSettings(function, Path.cwd(), timeout_s, memory_gb)
        remote = self._ray.remote(run_task).options(num_cpus=1, max_retries=MAX_RETRIES)
        # With fewer workers than cores, the number of tasks given to Ray is what limits them.
        capacity = workers * TASKS_IN_FLIGHT_PER_WORKER
        at_once = workers if workers < self.n_cores() else capacity
        return RayPool(self._ray, lambda task: remote.remote(settings, task), capacity, at_once)

    def run_jobs(
        self, function: Callable[[TaskT], ResultT], jobs: Sequence[TaskT], *, cores: int
    ) -> Iterator[tuple[ResultT | None, str]]:
        """Run the jobs on the cluster, each with a GPU if the cluster has any, and show a progress bar; see `Engine`."""
        has_gpu = self._ray.cluster_resources().get("GPU", 0) >= 1
        remote = self._ray.remote(run_job).options(
            num_cpus=min(max(1, cores), self._largest_node()), num_gpus=int(has_gpu), max_retries=MAX_RETRIES
        )
        folder = Path.cwd()
        pool: RayPool[int] = RayPool(
            self._ray, lambda number: remote.remote(function, folder, jobs[number]), len(jobs), len(jobs)
        )
        finished: dict[int, tuple[ResultT | None, str]] = {}
        with contextlib.closing(pool), tqdm(total=len(jobs), unit="run", dynamic_ncols=True) as bar:
            for number in range(len(jobs)):
                pool.submit(number)
            for number in range(len(jobs)):
                while number not in finished:
                    for done, result, reason in pool.finished(ordered=False):
                        finished[done] = result, reason
                        bar.update()
                yield finished.pop(number)

    def _largest_node(self) -> int:
        """Return the number of cores of the largest machine; a job that asks for more would wait for ever."""
        return max(int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]) or 1


class RayPool(Generic[TaskT]):
    """Tasks given to a cluster, and further ones that wait for a free place.

    Attributes:
        capacity: maximum number of tasks in flight.
    """

    def __init__(self, ray: Any, start: Callable[[TaskT], ray.ObjectRef], capacity: int, at_once: int) -> None:
        """Give no task to the cluster yet.

        Args:
            ray: the module, connected to the cluster.
            start: gives a task to the cluster and returns the reference of its result.
            capacity: see the class.
            at_once: maximum number of tasks that are given to the cluster at the same time.
        """
        self.capacity = capacity
        self._ray, self._start, self._at_once = ray, start, at_once
        self._waiting: deque[TaskT] = deque()
        self._tasks: dict[Any, TaskT] = {}
        self._running: set[Any] = set()

    def __len__(self) -> int:
        """Return the number of tasks in flight."""
        return len(self._tasks) + len(self._waiting)

    def submit(self, task: TaskT) -> None:
        """Schedule a task."""
        self._waiting.append(task)
        self._fill()

    def finished(self, ordered: bool) -> list[tuple[TaskT, Any | None, str]]:
        """Wait for tasks and return them: the oldest one, or all that have finished; see `run_in_workers`.

        Raises:
            WorkError: the machines of the cluster cannot run the tasks.
        """
        while True:
            ready = [ref for ref in self._tasks if ref not in self._running]
            if ordered:
                ready = [ref for ref in ready[:1] if ref is next(iter(self._tasks))]
            if ready:
                return [(self._tasks.pop(ref), *self._outcome(ref)) for ref in ready]
            self._wait()

    def close(self) -> None:
        """Stop all tasks."""
        self._waiting.clear()
        for ref in self._running:
            self._ray.cancel(ref, force=True)
        if self._running:
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=STOP_TIMEOUT_S)
        self._running.clear()
        self._tasks.clear()

    stop = close

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._at_once:
            task = self._waiting.popleft()
            ref = self._start(task)
            self._tasks[ref] = task
            self._running.add(ref)

    def _wait(self) -> None:
        """Wait until a task has finished, and start those that wait for a place."""
        running = list(self._running)
        done, rest = self._ray.wait(running, num_returns=1)
        more, _ = self._ray.wait(rest, num_returns=len(rest), timeout=0) if rest else ([], [])
        self._running.difference_update(done, more)
        self._fill()

    def _outcome(self, ref: Any) -> tuple[Any | None, str]:
        errors = self._ray.exceptions
        try:
            return pickle.loads(self._ray.get(ref))
        except errors.RayTaskError as error:
            # The worker catches the errors of tasks, so this is an error of the machine that it runs on.
            raise WorkError(
                f"a worker of the Ray cluster failed: {last_line(error)}; all its machines must see the repository, the "
                "working directory and the data under the same paths and have the same packages"
            ) from None
        except errors.LocalRayletDiedError:
            raise WorkError(
                "Ray's process of this machine has ended (killed, or no memory left); run the command again, which continues"
            ) from None
        except errors.RayError:
            return None, "crashed"


def connected_ray() -> Any:
    """Return the module `ray`, connected to the cluster of `RAY_ADDRESS` or to a new one on this machine.

    Raises:
        WorkError: the cluster cannot be reached or started.
    """
    address = os.environ.get(ADDRESS, "local")
    if address == "local":
        # Ray reads both when it is imported. The first makes it listen on loopback only, as it does on other systems.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    if ray.is_initialized():
        return ray
    local: dict[str, Any] = {"num_cpus": default_workers(), "include_dashboard": False} if address == "local" else {}
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            with kept_signal_handlers():
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    runtime_env={"env_vars": {"PYTHONPATH": str(REPOSITORY)}},
                    **local,
                )
        except Exception as error:
            ray.shutdown()
            if address != "local":
                raise WorkError(
                    f"the Ray cluster at {ADDRESS}={address} cannot be used: {last_line(error)} (if it requires a token, set "
                    "RAY_AUTH_MODE=token)"
                ) from None
            if attempt == START_ATTEMPTS:
                raise WorkError(f"Ray cannot start a cluster on this machine: {last_line(error)}") from None
        else:
            break
    return ray


@contextlib.contextmanager
def kept_signal_handlers() -> Iterator[None]:
    """Restore the handler of SIGTERM, which Ray replaces by one with another exit code."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def last_line(error: Exception, limit: int = 300) -> str:
    """Return the last line of an error's text, which for errors of tasks is the error without its traceback."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{lines[-1].strip()[:limit]}" if lines else type(error).__name__
