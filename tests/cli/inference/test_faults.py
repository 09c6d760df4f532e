"""`inference.py`: interrupts and full disks lose no finished score."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import pytest

import engine.detector
import engine.score_files
from tests.cli.inference.conftest import call, rows_of


def cut_short(monkeypatch, count, error=KeyboardInterrupt):
    """Make decoding raise an error after `count` clips."""
    decode = engine.detector.run_in_workers

    def stop_early(*arguments, **options):
        yield from itertools.islice(decode(*arguments, **options), count)
        raise error

    monkeypatch.setattr(engine.detector, "run_in_workers", stop_early)


def cannot_write(path_suffix, times=10**9):
    """Return an `os.replace` that fails as on a full disk for the first `times` files with this suffix."""
    replace, left = os.replace, itertools.count(1)

    def full(source, target):
        if str(target).endswith(path_suffix) and next(left) <= times:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    return full


def test_ctrl_c_keeps_scores_and_marks_other_clips_pending(shelf, checkpoint, monkeypatch, capsys):
    cut_short(monkeypatch, 2)
    assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 130
    message = capsys.readouterr().err
    assert "everything finished so far is kept" in message and "Traceback" not in message
    rows = rows_of()
    assert [row["status"] for row in rows] == ["partial", "ok", "pending", "pending", "pending"]
    assert [row["verdict"] == "unscored" for row in rows] == [False, False, True, True, True]


def test_scores_are_written_during_the_run(shelf, checkpoint, monkeypatch):
    monkeypatch.setattr(engine.score_files, "WRITE_EVERY_S", 0.0)
    seen = []
    write = engine.score_files.write_scores
    monkeypatch.setattr(
        engine.score_files, "write_scores", lambda table, path: (write(table, path), seen.append(rows_of()))
    )
    assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 0
    assert [sum(row["status"] == "pending" for row in rows) for rows in seen] == [4, 3, 2, 1, 0]
    assert [row["video"] for row in seen[0]] == [row["video"] for row in seen[-1]]


@pytest.mark.parametrize("interrupted", [False, True])
def test_full_disk_loses_no_score(shelf, checkpoint, monkeypatch, capsys, interrupted):
    monkeypatch.setattr("utils.files.os.replace", cannot_write("scores.csv"))
    if interrupted:
        cut_short(monkeypatch, 2)
    assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 1
    printed = capsys.readouterr()
    assert printed.err == "error: scores.csv cannot be written: No space left on device\n"
    (line,) = [line for line in printed.out.splitlines() if "b.mp4" in line]
    assert line.split()[1].startswith("0.") and line.split()[2] in ("fake", "real")
    assert not list(Path().glob("*.csv")) and not list(Path().glob(".writing*"))


def test_failed_report_write_keeps_the_scores(shelf, checkpoint, monkeypatch, capsys):
    monkeypatch.setattr("utils.files.os.replace", cannot_write("report.html"))
    assert call("--video_path", shelf / "b.mp4", "--checkpoint", checkpoint, "--report", "page") == 1
    printed = capsys.readouterr()
    assert printed.err == "error: page/report.html cannot be written: No space left on device\n"
    assert "b.mp4" in printed.out and len(rows_of()) == 1


def test_temporarily_full_disk_does_not_end_the_run(shelf, checkpoint, monkeypatch, caplog):
    monkeypatch.setattr(engine.score_files, "WRITE_EVERY_S", 0.0)
    monkeypatch.setattr("utils.files.os.replace", cannot_write("scores.csv", times=2))
    assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 0
    assert len(rows_of()) == 5
    messages = [record.getMessage() for record in caplog.records if record.name == "engine.score_files"]
    assert messages == ["scores.csv cannot be written: No space left on device; scoring continues"] * 2


def test_unexpected_error_keeps_the_scores(shelf, checkpoint, monkeypatch):
    cut_short(monkeypatch, 2, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        call("--video_dir", shelf, "--checkpoint", checkpoint, "--batch_size", "1")
    assert [row["status"] for row in rows_of()].count("pending") == 3
