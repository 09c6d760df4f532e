"""Fixtures of the run tests: an empty working directory and a finished run on a small data root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from engine.run import run_training
from engine.run_folder import RunFolder
from tests.support import tiny_config, write_root


@dataclass(frozen=True)
class FinishedRun:
    """A finished training run.

    Attributes:
        root: data root of the run.
        folder: run folder.
        submission: the `prediction.txt.csv` that the run wrote.
    """

    root: Path
    folder: RunFolder
    submission: Path


@pytest.fixture(autouse=True)
def working_directory(tmp_path_factory, monkeypatch):
    """Start each test in an empty folder, where `prediction.txt.csv` is written by default."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


@pytest.fixture
def one_thread():
    """Compute on one thread, which makes sums reproducible."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> FinishedRun:
    """Train two epochs on 16 clips and evaluate on the test split. Tests must not modify the result."""
    root = write_root(tmp_path_factory.mktemp("finished") / "data")
    submission = tmp_path_factory.mktemp("submission") / "prediction.txt.csv"
    return FinishedRun(root, run_training(tiny_config(root, evaluate="test"), submission=submission), submission)
