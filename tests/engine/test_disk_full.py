"""A full disk or quota: one sentence with path and reason, exit code 1, and earlier files stay intact."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

import main
from engine.checkpoint import load_checkpoint
from engine.event_log import EventLog
from engine.run_folder import RunFolder, write_csv
from tests.support import random_checkpoint, write_root, write_tiny_config
from utils.command import run_command
from utils.errors import WriteError

KIB = 1024


@contextmanager
def file_size_limit(limit_bytes: int):
    """Limit the size of files that this process writes; exceeding it raises an OSError, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def failure(capsys, config: Path, *arguments: str) -> str:
    """Run `main.py` in this process; check that it prints a single error and no traceback; return the error line."""
    capsys.readouterr()
    code = run_command(main.main, ["--config", str(config), *arguments])
    printed = capsys.readouterr().err
    errors = [line for line in printed.splitlines() if line.startswith("error:")]
    assert code == 1 and len(errors) == 1, printed
    assert "Traceback" not in printed and "Logging error" not in printed
    return errors[0]


def succeed(config: Path, *arguments: str) -> None:
    assert run_command(main.main, ["--config", str(config), *arguments]) == 0


def test_failed_checkpoint_write_keeps_the_old_file(tmp_path):
    path = random_checkpoint(tmp_path / "best.pth")
    before = path.read_bytes()
    checkpoint = load_checkpoint(path)
    with (
        file_size_limit(len(before) // 2),
        pytest.raises(WriteError, match=r"best\.pth cannot be written: File too large"),
    ):
        checkpoint.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["best.pth"]


def test_error_names_the_file_that_cannot_be_written(tmp_path):
    folder = RunFolder(tmp_path)
    table = pd.DataFrame({"video_name": ["a.mp4"], "score": [0.5]})
    folder.append_history({"epoch": 1})
    with file_size_limit(1):
        for name, write in {
            "history.jsonl": lambda: folder.append_history({"epoch": 2}),
            "metrics.json": lambda: folder.write_metrics({"auc": 0.5}),
            "config.yml": lambda: folder.write_config("seed: 0\n"),
            "predictions.csv": lambda: folder.write_predictions(table),
            "scores.csv": lambda: write_csv(table, tmp_path / "scores.csv"),
            "events.out": lambda: EventLog(tmp_path, first_step=1),
        }.items():
            with pytest.raises(WriteError, match=rf"{name}.* cannot be written: File too large"):
                write()
    assert folder.read_history() == [{"epoch": 1}]


def test_training_on_a_full_disk_ends_with_one_sentence(tmp_path, capsys):
    config = write_tiny_config(write_root(tmp_path / "data"))
    checkpoint_bytes = random_checkpoint(tmp_path / "some.pth").stat().st_size
    with file_size_limit(checkpoint_bytes // 2):
        assert "best.pth cannot be written: File too large" in failure(capsys, config)


def test_resuming_on_a_full_disk_keeps_both_checkpoints(tmp_path, capsys):
    root = write_root(tmp_path / "data")
    config = write_tiny_config(root, train={"epochs": 1})
    succeed(config)
    (run,) = (root / "runs").iterdir()
    before = {name: (run / name).read_bytes() for name in ("best.pth", "last.pth")}
    arguments = ["--resume", str(run / "last.pth"), "--set", "train.epochs=2"]
    with file_size_limit(len(before["best.pth"]) // 2):
        assert re.search(r"(best|last)\.pth cannot be written: File too large", failure(capsys, config, *arguments))
    assert {name: (run / name).read_bytes() for name in before} == before
    succeed(config, *arguments)
    assert [epoch["epoch"] for epoch in RunFolder(run).read_history()] == [1, 2]


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 1 MiB and return its path; skip the test if mounting is not permitted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("spare", [0, 40 * KIB, 400 * KIB])
def test_full_file_system_ends_a_run_with_one_sentence(small_disk, tmp_path, capsys, spare):
    config = write_tiny_config(write_root(tmp_path / "data"), output_dir=str(small_disk / "runs"))
    fill(small_disk, spare)
    assert re.search(r"cannot be written.*No space left on device", failure(capsys, config))


def test_evaluation_without_space_for_its_results_ends_with_one_sentence(small_disk, tmp_path, capsys):
    config = write_tiny_config(write_root(tmp_path / "data"), output_dir=str(small_disk / "runs"))
    arguments = ["--checkpoint", str(random_checkpoint(tmp_path / "some.pth")), "--set", "evaluate=test"]
    succeed(config, *arguments)
    fill(small_disk, spare=24 * KIB)
    line = failure(capsys, config, *arguments)
    assert re.search(r"(html|json|csv) cannot be written: No space left on device", line)


def fill(disk: Path, spare: int) -> None:
    """Fill a file system, leaving `spare` bytes."""
    with open(disk / "other", "wb") as stream:
        stream.write(b"x" * (shutil.disk_usage(disk).free - spare))
