"""Tasks in worker processes: a failing task does not affect the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dataset.extraction_worker import ScoringTask, extract_in_memory
from dataset.workers import CLIP_MEMORY_GB, default_workers, run_in_workers
from tests.support import REPOSITORY
from utils.features.config import FeatureConfig


def behave(task: tuple[str, float]) -> str:
    """Perform the action that the task names."""
    name, value = task
    if name == "exit":
        os._exit(int(value))
    if name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "raise":
        raise ValueError("a fault in one task")
    if name == "memory":
        raise MemoryError
    if name == "ignore_signals":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGALRM})
    if name in ("ignore_signals", "sleep"):
        time.sleep(value)
    return name


def test_crash_affects_only_its_task_and_order_is_preserved() -> None:
    names = ["one", "exit", "two", "kill", "raise", "three", "memory", "four"]
    tasks = [(name, 3.0) for name in names]
    results = list(run_in_workers(behave, tasks, workers=2, timeout_s=60))
    assert [task for task, _, _ in results] == tasks
    fatal = {"exit", "kill", "raise", "memory"}
    for (name, _), result, reason in results:
        assert (result, reason) == ((None, "crashed") if name in fatal else (name, ""))


def worker_pid(_: int) -> int:
    """Return the process that runs the task."""
    return os.getpid()


@pytest.mark.parametrize("ordered", [True, False])
def test_tasks_continue_in_new_workers_after_all_idle_workers_are_killed(ordered: bool) -> None:
    killed = set()
    results = []
    for task, pid, reason in run_in_workers(worker_pid, range(12), workers=1, timeout_s=60, ordered=ordered):
        results.append((task, reason))
        if not killed:
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        assert reason or pid not in killed or task < 4, "a result of a dead worker"
    assert sorted(task for task, _ in results) == list(range(12))
    assert sum(reason != "" for _, reason in results) <= 1, "at most the task that was running is lost"


@pytest.mark.parametrize("kind", ["sleep", "ignore_signals"])
def test_hanging_task_is_stopped_after_the_timeout(kind: str) -> None:
    list(run_in_workers(behave, [("warm", 0.0)], workers=1, timeout_s=60))
    started = time.monotonic()
    results = list(run_in_workers(behave, [("one", 0), (kind, 300.0), ("two", 0)], workers=1, timeout_s=1.0))
    assert [reason for _, _, reason in results] == ["", "timeout", ""]
    assert time.monotonic() - started < 30


def wait_for(task: tuple[str, str]) -> str:
    """Return the name of a task; `slow` waits until its file exists."""
    name, path = task
    while name == "slow" and not os.path.exists(path):
        time.sleep(0.02)
    return name


def compute_in_one_call(much: bool) -> None:
    """Compute for seconds in one call, in which no Python signal handler runs."""
    np.linalg.svd(np.random.default_rng(0).random((1600, 1600))) if much else None


def test_unordered_results_do_not_wait_for_a_slow_one(tmp_path: Path) -> None:
    release = tmp_path / "release"
    tasks = [("slow", str(release)), *[(f"quick {index}", "") for index in range(20)]]
    names = []
    for _, name, reason in run_in_workers(wait_for, tasks, workers=2, timeout_s=60, ordered=False):
        assert not reason
        names.append(name)
        if len(names) == 12:  # more than fit in flight
            release.touch()
    assert sorted(names) == sorted(name for name, _ in tasks) and names.index("slow") >= 12


def test_tasks_are_consumed_lazily_and_an_early_exit_stops_the_workers() -> None:
    taken = []

    def tasks():
        for index in range(10_000):
            taken.append(index)
            yield (str(index), 0.0)

    results = run_in_workers(behave, tasks(), workers=1, timeout_s=60)
    assert next(results)[1] == "0"
    results.close()
    assert len(taken) < 50


def test_ctrl_c_while_a_lock_is_taken_does_not_hang_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    take, armed = threading.Condition.__enter__, []

    def take_and_interrupt(condition: threading.Condition) -> bool:
        taken = take(condition)
        if armed and threading.current_thread() is threading.main_thread():
            armed.clear()
            os.kill(os.getpid(), signal.SIGINT)
        return taken

    def hang(*_: object) -> None:
        raise TimeoutError("the pool waits for its own lock")

    monkeypatch.setattr(threading.Condition, "__enter__", take_and_interrupt)
    results = run_in_workers(behave, [(str(index), 0.0) for index in range(100)], workers=1, timeout_s=60)
    next(results)
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(20)
    try:
        armed.append(True)
        with pytest.raises(KeyboardInterrupt):
            list(results)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_stop_does_not_wait_for_the_current_call(tmp_path: Path) -> None:
    """A worker in a system call is ended at once, not after the grace period of 3 s."""
    results = run_in_workers(compute_in_one_call, [False, True], workers=1, timeout_s=60)
    next(results)
    time.sleep(0.2)
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 2


def test_script_without_a_main_guard_ends_and_is_told_why(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from dataset.workers import run_in_workers\n"
        "print([reason for _, _, reason in run_in_workers(os.path.exists, ['a'], workers=1, timeout_s=60)])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("Traceback") == 1
    assert "if __name__ == '__main__'" in done.stderr.splitlines()[-1]


INTERRUPTED_SERVER = """
import os, signal
from multiprocessing import forkserver
from dataset.workers import LOCAL, run_in_workers
if __name__ == "__main__":
    LOCAL.warm_up()
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGINT)
    print(list(run_in_workers(os.path.exists, ["/"], workers=1, timeout_s=60)))
"""


def test_ctrl_c_while_the_fork_server_starts_prints_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(INTERRUPTED_SERVER)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, tmp_path / "script.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert (done.stdout, done.stderr) == ("[('/', True, '')]\n", "")


def test_empty_task_list_and_default_worker_count() -> None:
    assert list(run_in_workers(behave, [], workers=2, timeout_s=60)) == []
    assert default_workers() >= 1


def test_damaged_files_never_crash_a_worker(media, tmp_path: Path) -> None:
    kinds = {
        "mp4": {},
        "webm": {"video_codec": "libvpx-vp9", "audio_codec": "libopus", "sample_rate_hz": 48_000},
        "mpg": {"video_codec": "mpeg1video", "audio_codec": "mp2"},
        "avi": {"video_codec": "mpeg4", "audio_codec": "libmp3lame"},
    }
    rng = np.random.default_rng(11)
    paths = []
    for suffix, options in kinds.items():
        whole = media.clip(tmp_path / f"whole.{suffix}", 0.5, **options).read_bytes()
        for number in range(15):
            damaged = bytearray(whole)
            # Half of the copies are damaged at the start, which contains the structure.
            end = len(damaged) if number % 2 else min(len(damaged), 1500)
            for position in rng.integers(0, end, int(rng.choice([2, 10, 80]))):
                damaged[position] = rng.integers(256)
            paths.append(tmp_path / f"{number}.{suffix}")
            paths[-1].write_bytes(damaged)
    config = FeatureConfig()
    tasks = [ScoringTask(path, config, config.enabled()) for path in paths]
    statuses = []
    for task, features, reason in run_in_workers(extract_in_memory, tasks, workers=2, timeout_s=60):
        assert reason == "" and features is not None, task.video_path.name
        facts = features.facts
        statuses.append(facts.status)
        assert (facts.status == "ok") == (facts.reason == "") and facts.duration_s < 4 * 3600
        if features.values.get("covariance") is not None:
            assert np.isfinite(features.values["covariance"]).all()
    assert {"ok", "partial", "failed"} == set(statuses), "the damage should cover every degree"


def allocate(size_mb: int) -> str:
    """Fill this much memory."""
    return f"{np.ones(size_mb << 17).nbytes >> 20} MB"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory limit needs Linux")
def test_task_above_the_memory_limit_affects_only_itself() -> None:
    results = list(run_in_workers(allocate, [10, 4000, 20], workers=1, timeout_s=60, memory_gb=2.0))
    assert [(result, reason) for _, result, reason in results] == [("10 MB", ""), (None, "crashed"), ("20 MB", "")]


def memory_limit_gb(_: int) -> float:
    """Return the memory limit of this process."""
    import resource

    return resource.getrlimit(resource.RLIMIT_DATA)[0] / 1e9


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory limit needs Linux")
def test_workers_have_a_memory_limit_by_default() -> None:
    results = run_in_workers(memory_limit_gb, [1], workers=1, timeout_s=60)
    assert [found for _, found, _ in results] == [CLIP_MEMORY_GB]
