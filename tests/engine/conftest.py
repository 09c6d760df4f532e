"""Fixtures of the run tests: a small data root with features, and one finished run over it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.run import run_training
from engine.run_folder import RunFolder
from tests.support import tiny_config, write_root


@dataclass(frozen=True)
class FinishedRun:
    """A finished training run.

    Attributes:
        root: its data root.
        cwd: the working directory it was started in.
        folder: its run folder.
    """

    root: Path
    cwd: Path
    folder: RunFolder


@pytest.fixture(autouse=True)
def own_logging_and_folder(tmp_path_factory, monkeypatch):
    """Runs set up logging and write `prediction.txt.csv` into the working directory: both are undone afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> FinishedRun:
    """Two epochs over 16 clips, evaluated on the test split; tests read it and leave it as it is."""
    root = write_root(tmp_path_factory.mktemp("finished") / "data")
    cwd = tmp_path_factory.mktemp("finished_cwd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        folder = run_training(tiny_config(root, evaluate="test"))
    return FinishedRun(root, cwd, folder)
