"""`inference.py`: interrupts, kills and full disks lose no finished score."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dataset.workers
import engine.score_writer
from engine.score_lines import ScoreLines
from tests.cli.inference.conftest import call, rows_of
from tests.engine.test_disk_full import file_size_limit
from tests.support import REPOSITORY


def cut_short(monkeypatch, count, error=KeyboardInterrupt):
    """Make decoding raise an error after `count` clips."""
    decode = dataset.workers.run_in_workers

    def stop_early(*arguments, **options):
        yield from itertools.islice(decode(*arguments, **options), count)
        raise error

    monkeypatch.setattr(dataset.workers, "run_in_workers", stop_early)


def cannot_replace(path_suffix, times=10**9):
    """Return an `os.replace` that fails as on a full disk for the first `times` files with this suffix."""
    replace, left = os.replace, itertools.count(1)

    def full(source, target):
        if str(target).endswith(path_suffix) and next(left) <= times:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    return full


def json_rows(path):
    text = Path(path).read_text(encoding="utf-8")
    return json.loads(text) if path.endswith(".json") else [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("output", ["scores.csv", "scores.jsonl", "scores.json"])
def test_ctrl_c_keeps_scores_and_marks_other_clips_pending(shelf, checkpoint, monkeypatch, capsys, output):
    cut_short(monkeypatch, 2)
    assert call("--video_dir", shelf, "--checkpoint", checkpoint, "--output", output) == 130
    message = capsys.readouterr().err
    assert (
        f"everything finished so far is kept in {output}; --resume scores the rest" in message
        and "Traceback" not in message
    )
    rows = rows_of(output) if output.endswith(".csv") else json_rows(output)
    assert [row["status"] for row in rows] == ["partial", "ok", "pending", "pending", "pending"]
    assert [row["verdict"] == "unscored" for row in rows] == [False, False, True, True, True]


@pytest.mark.parametrize("output", ["scores.csv", "scores.jsonl"])
def test_rows_are_on_disk_as_soon_as_they_are_printed(shelf, checkpoint, monkeypatch, output):
    seen = []
    line = ScoreLines.line

    def count_rows(self, row):
        seen.append(len(Path(output).read_text(encoding="utf-8").splitlines()))
        return line(self, row)

    monkeypatch.setattr(ScoreLines, "line", count_rows)
    assert call("--video_dir", shelf, "--checkpoint", checkpoint, "--output", output) == 0
    header = output.endswith(".csv")
    assert seen == [count + header for count in (1, 2, 3, 4, 5)]


def test_json_list_is_written_during_the_run(shelf, checkpoint, monkeypatch):
    monkeypatch.setattr(engine.score_writer, "WRITE_EVERY_S", 0.0)
    seen = []
    replace = os.replace
    monkeypatch.setattr(
        "utils.files.os.replace",
        lambda source, target: (replace(source, target), seen.append(len(json_rows("scores.json")))),
    )
    assert call("--video_dir", shelf, "--checkpoint", checkpoint, "--output", "scores.json") == 0
    assert seen == [1, 2, 3, 4, 5, 5]


def test_killed_process_leaves_finished_rows(shelf, checkpoint, tmp_path):
    """Send SIGKILL while the command waits for a pipe that never delivers the last clip."""
    os.mkfifo(tmp_path / "list")
    script = [sys.executable, str(REPOSITORY / "inference.py"), "--video_list", "list", "--checkpoint", str(checkpoint)]
    with (
        subprocess.Popen(
            [*script, "--workers", "1", "--batch_size", "1"], cwd=tmp_path, stdout=subprocess.DEVNULL
        ) as process,
        open(tmp_path / "list", "w", encoding="utf-8") as names,
    ):
        names.write(f"{shelf / 'b.mp4'}\n" * 20)
        names.flush()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (tmp_path / "scores.csv").is_file():
            time.sleep(0.1)
        while time.monotonic() < deadline and len(rows_of(tmp_path / "scores.csv")) < 2:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    rows = rows_of(tmp_path / "scores.csv")
    assert len(rows) >= 2 and all(row["status"] == "ok" for row in rows)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_unwritable_output_ends_the_run_before_scoring(shelf, checkpoint, monkeypatch, capsys):
    monkeypatch.setattr("utils.files.os.replace", cannot_replace("scores.csv"))
    monkeypatch.setattr(dataset.workers, "run_in_workers", lambda *_, **__: pytest.fail("scoring started"))
    assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 1
    assert capsys.readouterr().err == "error: scores.csv cannot be written: No space left on device\n"
    assert not list(Path().glob("*.csv")) and not list(Path().glob(".writing*"))


@pytest.mark.parametrize("interrupted", [False, True])
def test_full_disk_loses_no_score(shelf, checkpoint, monkeypatch, capsys, interrupted):
    if interrupted:
        cut_short(monkeypatch, 2)
    with file_size_limit(350):
        assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 1
    printed = capsys.readouterr()
    assert printed.err.endswith("error: scores.csv cannot be written: File too large\n")
    (line,) = [line for line in printed.out.splitlines() if "b.mp4" in line]
    assert line.split()[1].startswith("0.") and line.split()[2] in ("fake", "real")
    assert len(rows_of()) == 1 and Path("scores.csv").read_bytes().endswith(b"\n")


def test_full_disk_while_a_json_list_is_written_leaves_no_file(shelf, checkpoint, monkeypatch, capsys):
    monkeypatch.setattr("utils.files.os.replace", cannot_replace("scores.json"))
    assert call("--video_dir", shelf, "--checkpoint", checkpoint, "--output", "scores.json") == 1
    printed = capsys.readouterr()
    assert printed.err == "error: scores.json cannot be written: No space left on device\n"
    assert "b.mp4" in printed.out and not list(Path().glob("*.json")) and not list(Path().glob(".writing*"))


def test_failed_report_write_keeps_the_scores(shelf, checkpoint, monkeypatch, capsys):
    monkeypatch.setattr("utils.files.os.replace", cannot_replace("report.html"))
    assert call("--video_path", shelf / "b.mp4", "--checkpoint", checkpoint, "--report", "page") == 1
    printed = capsys.readouterr()
    assert printed.err == "error: page/report.html cannot be written: No space left on device\n"
    assert "b.mp4" in printed.out and len(rows_of()) == 1


def test_temporarily_full_disk_does_not_end_the_run(shelf, checkpoint, monkeypatch, caplog):
    monkeypatch.setattr(engine.score_writer, "WRITE_EVERY_S", 0.0)
    monkeypatch.setattr("utils.files.os.replace", cannot_replace("scores.json", times=2))
    assert call("--video_dir", shelf, "--checkpoint", checkpoint, "--output", "scores.json") == 0
    assert len(json_rows("scores.json")) == 5
    messages = [record.getMessage() for record in caplog.records if record.name == "engine.score_writer"]
    assert messages == ["scores.json cannot be written: No space left on device; scoring continues"] * 2


def test_unexpected_error_keeps_the_scores(shelf, checkpoint, monkeypatch):
    cut_short(monkeypatch, 2, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        call("--video_dir", shelf, "--checkpoint", checkpoint, "--batch_size", "1")
    assert [row["status"] for row in rows_of()].count("pending") == 3
