"""The engine `ray` on a real cluster of two workers: the same files as the local engine, also after a worker is killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

import inference
from dataset.config import ExtractionConfig
from dataset.ray_engine import RayPool
from dataset.workers import open_engine, run_in_workers
from tests.dataset.extraction.conftest import contents, extract, manifest
from tests.dataset.test_workers import behave
from tests.support import random_checkpoint, tiny_settings, write_root
from utils import run_experiments
from utils.command import ENGINES, run_command
from utils.errors import WorkError
from utils.packages import is_installed

pytestmark = [
    pytest.mark.skipif(not is_installed("ray"), reason="requirements-ray.txt is not installed"),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="the workers are found through /proc"),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    """Start a local cluster of two workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setattr("dataset.ray_engine.default_workers", lambda: 2)
        opened = open_engine("ray")
        assert opened.n_cores() == 2
        yield opened
    sys.modules["ray"].shutdown()


def busy_workers() -> list[int]:
    """Return the Ray workers of this process that are running a task."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().startswith(
                (b"ray::run_task", b"ray::run_job")
            ):
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if parent_of(parent_of(pid)) == os.getpid()]


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


class KillingEngine:
    """An engine that kills one busy worker as soon as the first result has arrived."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.killed: list[int] = []

    def n_cores(self) -> int:
        return self.engine.n_cores()

    def pool(self, *arguments: Any) -> Any:
        pool = self.engine.pool(*arguments)
        pool.finished = self.killing(pool.finished)
        return pool

    def killing(self, finished: Callable[[bool], Any]) -> Callable[[bool], Any]:
        def kill_once(ordered: bool) -> Any:
            results = finished(ordered)
            end = time.monotonic() + 5
            while not self.killed and time.monotonic() < end:
                for pid in busy_workers()[:1]:
                    os.kill(pid, signal.SIGKILL)
                    self.killed.append(pid)
            return results

        return kill_once


def test_cluster_listens_on_loopback_only(engine) -> None:
    (node,) = sys.modules["ray"].nodes()
    assert node["NodeManagerAddress"] == "127.0.0.1" and node["Resources"]["CPU"] == 2
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_failures_have_the_same_reasons_as_on_the_local_engine(engine) -> None:
    tasks = [("one", 0.0), ("exit", 3.0), ("raise", 0.0), ("memory", 0.0), ("sleep", 60.0), ("two", 0.0)]
    results = list(run_in_workers(behave, tasks, workers=2, timeout_s=2, engine=engine))
    assert [task for task, _, _ in results] == tasks
    assert [reason for _, _, reason in results] == ["", "crashed", "crashed", "crashed", "timeout", ""]


def test_cluster_that_has_ended_is_no_fault_of_the_clips() -> None:
    exceptions = pytest.importorskip("ray").exceptions

    def get(ref: object) -> bytes:
        raise exceptions.LocalRayletDiedError

    ray = SimpleNamespace(exceptions=exceptions, get=get, wait=lambda refs, **_: (refs, []))
    pool: RayPool[str] = RayPool(ray, lambda task: f"reference of {task}", 1, 1)
    pool.submit("clip")
    with pytest.raises(WorkError, match="Ray's process of this machine has ended"):
        pool.finished(ordered=True)


def test_extraction_gives_the_same_files_after_a_worker_is_killed(engine, pristine_root, data_root, tmp_path) -> None:
    local = data_root.rename(tmp_path / "local")
    extract(local)
    remote = tmp_path / "remote"
    remote.mkdir()
    for name in ("trainset", "trainset_label.txt"):
        (remote / name).symlink_to(pristine_root / name)
    killing = KillingEngine(engine)
    summary = extract(remote, config=ExtractionConfig(workers=2), engine=killing)
    assert killing.killed and summary.statuses["ok"] == summary.n_new == 8
    assert contents(remote) == contents(local)
    without_duration = [
        [{key: row[key] for key in row if key != "seconds"} for row in manifest(root)] for root in (local, remote)
    ]
    assert without_duration[0] == without_duration[1]


def test_folder_scores_are_the_same_file(engine, pristine_root, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips").symlink_to(pristine_root / "trainset")
    checkpoint = random_checkpoint(tmp_path / "best.pth")
    arguments = ["--video_dir", "clips", "--checkpoint", str(checkpoint), "--device", "cpu", "--quiet"]
    assert run_command(inference.main, [*arguments, "--output", "local.csv", "--workers", "1"]) == 0
    assert run_command(inference.main, [*arguments, "--output", "ray.csv", "--engine", "ray"]) == 0
    assert Path("ray.csv").read_bytes() == Path("local.csv").read_bytes()
    assert len(pd.read_csv("ray.csv")) == 8


def test_sweep_gives_the_same_table(engine, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings(write_root(tmp_path / "data", train=8, val=8, test=2))
    settings.pop("output_dir")
    settings["train"] = {"epochs": 1, "batch_size": 4, "lr": 0.001}
    settings["model"]["backbone"] = "resnet10t"
    for name, suffix in (("one", "_raw"), ("two", "_missing")):
        Path(f"{name}.yml").write_text(
            yaml.safe_dump({**settings, "name": name, "data": {"workers": 0, "raw_suffix": suffix}})
        )
    tables = {}
    for name in ENGINES:
        argv = ["one.yml", "two.yml", "--seeds", "0", "--output", name, "--engine", name, "--quiet"]
        assert run_command(run_experiments.main, argv) == 0
        tables[name] = pd.read_csv(f"{name}/experiments.csv").drop(columns=["minutes_per_run"])
    pd.testing.assert_frame_equal(tables["local"], tables["ray"])
    assert "_missing does not exist" in tables["ray"]["reason"][1]
