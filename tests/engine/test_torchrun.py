"""Runs of several processes, as torchrun starts them: equal to one process, one writer, one message, and no hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from engine.cross_validation import run_cross_validation
from engine.run import run_training
from engine.run_folder import RunFolder
from tests.support import (
    NO_AUDIO,
    REPOSITORY,
    UNREADABLE,
    MadeClip,
    made_clips,
    tiny_config,
    write_root,
    write_split,
    write_tiny_config,
)

pytestmark = pytest.mark.usefixtures("one_thread")

# Importing the models takes seconds, so one process imports them and forks the processes of each run.
SERVER = """
import json, os, signal, sys
import torch
torch.set_num_threads(1)
import engine.cross_validation, engine.run, engine.train as train, main
from utils.command import run_command

def kill_in_step(number, steps=[0], loss=train.batch_loss):
    def counted(*arguments):
        steps[0] += 1
        if steps[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(*arguments)
    train.batch_loss = counted

for line in sys.stdin:
    job = json.loads(line)
    children = []
    for rank in range(job["size"]):
        child = os.fork()
        if child == 0:
            os.environ.update(job["environment"], RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(job["size"]))
            os.dup2(os.open(f"{job['errors']}{rank}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
            if str(rank) in job["kill_in_step"]:
                kill_in_step(job["kill_in_step"][str(rank)])
            os._exit(run_command(main.main, job["argv"]))
        children.append(child)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)
"""

TRAIN = {"epochs": 2, "batch_size": 4, "freeze_batch_norm": True, "timeout_s": 60}


class Launcher:
    """Starter of runs of several processes, with the environment and the store of torchrun."""

    def __init__(self, server: subprocess.Popen, scratch: Path) -> None:
        self._server = server
        self._scratch = scratch

    def run(self, *argv: str, size: int = 2, kill_in_step: dict[int, int] | None = None) -> tuple[list[int], list[str]]:
        """Run `main.py` in several processes and return their exit codes and standard errors."""
        store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        environment = {
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": str(store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }
        job = {
            "argv": argv,
            "size": size,
            "environment": environment,
            "kill_in_step": kill_in_step or {},
            "errors": str(self._scratch / "stderr"),
        }
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        codes = json.loads(self._server.stdout.readline())
        return codes, [(self._scratch / f"stderr{rank}").read_text() for rank in range(size)]


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("launcher")
    environment = {**os.environ, "TQDM_DISABLE": "1", "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=scratch, env=environment
    ) as server:
        yield Launcher(server, scratch)
        server.kill()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write 17 training clips, so that the last batch has a clip for one of two processes only, and a single test clip."""
    root = write_root(tmp_path_factory.mktemp("parallel"), val=7, test=1)
    broken = [MadeClip("mute.mp4", 1, NO_AUDIO), MadeClip("broken.mp4", 0, UNREADABLE)]
    write_split(root, "trainset", [*broken, *made_clips(15)], signal=0.03)
    return root


@pytest.fixture(scope="module")
def parallel_run(root, launcher):
    """Train two epochs in two processes; return the run folder and both standard errors."""
    config = write_tiny_config(root, name="two", evaluate="test", train=TRAIN)
    codes, errors = launcher.run("--config", str(config))
    assert codes == [0, 0], errors
    return only_run(root, "two"), errors


def only_run(root, name):
    (path,) = (root / "runs").glob(f"*_{name}")
    return RunFolder(path)


def untimed(folder):
    timed = ("seconds", "train_clips_per_s")
    return [{key: value for key, value in epoch.items() if key not in timed} for epoch in folder.read_history()]


def table_of(folder, name="predictions.csv"):
    return [line.split(",") for line in (folder.path / name).read_text().splitlines()]


def test_two_processes_train_and_score_like_one(root, parallel_run):
    single = run_training(tiny_config(root, evaluate="test", train=TRAIN))
    for ours, theirs in zip(untimed(parallel_run[0]), untimed(single), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    for name in ("predictions.csv", "predictions.valset.csv"):
        ours, theirs = table_of(parallel_run[0], name), table_of(single, name)
        assert [row[0] for row in ours] == [row[0] for row in theirs]
        assert [float(row[3]) for row in ours[1:]] == pytest.approx([float(row[3]) for row in theirs[1:]], abs=1e-3)
    assert {path.name for path in parallel_run[0].path.iterdir()} == {path.name for path in single.path.iterdir()}


def test_one_process_writes_and_prints(root, parallel_run):
    folder, (first, second) = parallel_run
    assert first.count("epoch 2/2") == 1 and "device cpu in 2 processes" in first
    assert second == ""
    assert len(list((folder.path / "tensorboard").iterdir())) == 1


def test_run_with_one_killed_process_resumes_to_the_same_result(root, launcher, parallel_run):
    config = write_tiny_config(root, name="killed", evaluate="test", train=TRAIN)
    # An epoch has five steps.
    codes, errors = launcher.run("--config", str(config), kill_in_step={0: 8})
    folder = only_run(root, "killed")
    assert codes == [-9, 1] and len(folder.read_history()) == 1
    assert errors[1].endswith(f"continue with --resume {folder.last}\n")
    codes, errors = launcher.run("--resume", str(folder.last))
    assert codes == [0, 0], errors
    assert untimed(folder) == untimed(parallel_run[0])
    assert table_of(folder) == table_of(parallel_run[0])


def test_two_processes_evaluate_a_checkpoint_like_one(root, launcher, parallel_run):
    config = write_tiny_config(root, name="scored", evaluate="test")
    codes, errors = launcher.run("--config", str(config), "--checkpoint", str(parallel_run[0].best))
    assert codes == [0, 0], errors
    for name in ("predictions.csv", "predictions.valset.csv"):
        assert table_of(only_run(root, "scored_evaluation"), name) == table_of(parallel_run[0], name)


def test_two_processes_train_on_packed_features_like_one(root, launcher):
    settings = {"data": {"source": "packed", "workers": 1}, "train": TRAIN}
    codes, errors = launcher.run("--config", str(write_tiny_config(root, name="packed", **settings)))
    assert codes == [0, 0], errors
    assert errors[1] == ""
    single = run_training(tiny_config(root, **settings))
    for ours, theirs in zip(untimed(only_run(root, "packed")), untimed(single), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_two_processes_cross_validate_like_one(root, launcher):
    settings = {"train": TRAIN | {"epochs": 1}, "split": {"folds": 2}}
    codes, errors = launcher.run("--config", str(write_tiny_config(root, name="crossed", **settings)))
    assert codes == [0, 0], errors
    ours = table_of(only_run(root, "crossed_folds"))
    theirs = table_of(run_cross_validation(tiny_config(root, **settings)))
    score, fold = ours[0].index("score"), ours[0].index("fold")
    assert [(row[0], row[fold]) for row in ours] == [(row[0], row[fold]) for row in theirs]
    scores = [[float(row[score] or "nan") for row in table[1:]] for table in (ours, theirs)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3, nan_ok=True)


def test_a_dead_process_ends_the_others_with_one_sentence(root, launcher):
    config = write_tiny_config(root, name="dead", train=TRAIN)
    codes, errors = launcher.run("--config", str(config), kill_in_step={1: 3})
    assert codes == [1, -9]
    assert errors[1] == "" and "Traceback" not in errors[0]
    assert errors[0].count("error: process 0 of 2 lost the connection to the others") == 1
    assert errors[0].endswith("no epoch had finished, so start the run again\n")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.batch_size=1", "train.batch_size=1: fewer clips per batch than the 2 processes"),
        ("label_name.trainset=none.txt", "trainset is needed, but its label file"),
    ],
)
def test_an_error_of_all_processes_is_printed_once(root, launcher, setting, words):
    config = write_tiny_config(root, name="wrong", train=TRAIN)
    codes, errors = launcher.run("--config", str(config), "--set", setting)
    assert codes == [2, 2]
    lines = [line for line in "".join(errors).splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and words in lines[0]


def test_torchrun_prints_an_error_once(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "main.py"]
    options = ["--config", str(tmp_path / "none.yml")]
    done = subprocess.run(
        [*command, *options], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1 and "none.yml" in done.stderr
