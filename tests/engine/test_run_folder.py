"""Tables, history and log of a run folder."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pandas as pd
import pytest

from engine.run_folder import RunFolder, write_csv
from tests.support import REPOSITORY


def test_table_with_an_undecodable_name_is_written(tmp_path):
    table = pd.DataFrame({"video": [os.fsdecode(b"bad\xff.mp4"), "good.mp4"], "score": [0.5, 0.25]})
    write_csv(table, tmp_path / "scores.csv")
    assert pd.read_csv(tmp_path / "scores.csv")["video"].tolist() == ["bad\\udcff.mp4", "good.mp4"]


def test_log_is_active_within_the_context_only(tmp_path, capsys):
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    log = logging.getLogger("engine.some_module")
    with RunFolder(tmp_path).logging():
        log.info("within")
    log.info("after")
    assert (list(root.handlers), root.level) == before
    written = (tmp_path / "run.log").read_text()
    assert "INFO within" in written and "after" not in written


def test_console_lines_are_printed_once(tmp_path):
    code = (
        "import logging, sys\nfrom pathlib import Path\nfrom engine.run_folder import RunFolder\n"
        "if sys.argv[2] == 'command': logging.basicConfig(level=logging.INFO, format='%(message)s')\n"
        "with RunFolder(Path(sys.argv[1])).logging():\n    logging.getLogger('engine.x').info('a line')\n"
    )
    for kind in ("command", "plain"):
        command = [sys.executable, "-c", code, str(tmp_path), kind]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        assert done.stderr == "a line\n"


def test_fatal_error_is_logged_with_its_traceback(tmp_path):
    def fail() -> None:
        raise ValueError("some reason")

    with pytest.raises(ValueError, match="some reason"), RunFolder(tmp_path).logging():
        fail()
    written = (tmp_path / "run.log").read_text()
    assert "ERROR the run failed" in written and "ValueError: some reason" in written


def test_truncated_history_line_is_ignored_and_later_epochs_are_dropped(tmp_path):
    folder = RunFolder(tmp_path)
    for epoch in (1, 2, 3):
        folder.append_history({"epoch": epoch, "changed": {"train.lr": [1, 2]}})
    with open(tmp_path / "history.jsonl", "a") as stream:
        stream.write('{"epoch": 4, "changed": {}')
    assert [epoch["epoch"] for epoch in folder.read_history()] == [1, 2, 3]
    folder.truncate_history(before_epoch=3)
    assert [epoch["epoch"] for epoch in folder.read_history()] == [1, 2]
