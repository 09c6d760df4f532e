"""Functions that run in the worker processes of a Ray cluster. Results return as pickles, so that their arrays are writable."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset.worker_pool import WorkerPool


@dataclass(frozen=True)
class TaskSettings:
    """What all tasks of a pool have in common.

    Attributes:
        function: the function to call with each task.
        folder: working directory, to which the paths in tasks are relative.
        timeout_s: time limit of a task.
        memory_gb: memory limit of the process that runs it.
    """

    function: Callable[[Any], Any]
    folder: Path
    timeout_s: float
    memory_gb: float | None


class TaskRunner:
    """The process that runs tasks for this Ray worker, as the local engine does: with limits, and apart from Ray itself."""

    def __init__(self) -> None:
        """Start no process yet."""
        self._settings: TaskSettings | None = None
        self._pool: WorkerPool | None = None

    def run(self, settings: TaskSettings, task: Any) -> tuple[Any | None, str]:
        """Return the result of a task, or `None` and the reason code of the failure."""
        pool = self._pool_for(settings)
        pool.submit(task)
        ((_, result, reason),) = pool.finished(ordered=True)
        return result, reason

    def _pool_for(self, settings: TaskSettings) -> WorkerPool:
        if self._pool is None or settings != self._settings:
            if self._pool is not None:
                self._pool.stop()
            enter(settings.folder)
            self._pool = WorkerPool(settings.function, 1, settings.timeout_s, settings.memory_gb)
            self._settings = settings
        return self._pool


RUNNER = TaskRunner()


def run_task(settings: TaskSettings, task: Any) -> bytes:
    """Return the pickled result and reason code of a task."""
    return pickle.dumps(RUNNER.run(settings, task), pickle.HIGHEST_PROTOCOL)


def run_job(function: Callable[[Any], Any], folder: Path, job: Any) -> bytes:
    """Return the pickled result of a job, which runs in this process and may start others, and an empty reason code."""
    enter(folder)
    return pickle.dumps((function(job), ""), pickle.HIGHEST_PROTOCOL)


def enter(folder: Path) -> None:
    """Change to the working directory of the command, and prepare this process for starting others.

    Raises:
        OSError: this machine has no such folder.
    """
    os.chdir(folder)
    # Processes that multiprocessing starts import the file of the main module first. Here it is Ray's, which takes a second.
    sys.modules["__main__"].__dict__.pop("__file__", None)
