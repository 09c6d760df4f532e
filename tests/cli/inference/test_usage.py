"""`inference.py`: arguments, the default checkpoint, and imports."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from fnmatch import fnmatch

import pytest

import dataset.workers
import inference
from tests.cli.inference.conftest import call
from tests.support import REPOSITORY, one_sentence, random_checkpoint
from utils.files import short_path


def test_wrong_usage_gives_one_sentence_and_exits_2(shelf, checkpoint, tmp_path, capsys):
    (tmp_path / "bare").mkdir()
    (tmp_path / "file").write_text("")
    clip, given = ["--video_path", str(shelf / "b.mp4")], ["--checkpoint", str(checkpoint)]
    cases = [
        ([], "--video_path --video_dir --video_list --watch is required"),
        ([*clip, "--video_dir", str(shelf)], "not allowed with"),
        (clip, "make demo"),
        (["--video_path", "none.mp4", *given], "--video_path does not exist: none.mp4"),
        (["--video_path", "bare", *given], "--video_path is not a file"),
        (["--video_dir", "none", *given], "--video_dir does not exist: none"),
        (["--video_dir", "file", *given], "is a file, not a folder"),
        (["--video_dir", "bare", *given], "no clip in it"),
        ([*clip, "--checkpoint", "none.pth"], "checkpoint does not exist: none.pth"),
        ([*clip, *given, "--output", "scores.txt"], "ends in .csv, .jsonl or .json"),
        ([*clip, *given, "--output", "file/scores.csv"], "--output cannot be written: file/scores.csv"),
        ([*clip, *given, "--tta", "3"], "invalid choice"),
        ([*clip, *given, "--batch_size", "0"], "--batch_size: must be at least 1, not 0"),
        ([*clip, *given, "--workers", "many"], "invalid int value"),
        ([*clip, *given, "--device", "cuda:99"], "CUDA device"),
        ([*clip, *given, "--device", "toaster"], "toaster"),
    ]
    for arguments, words in cases:
        assert words in one_sentence(inference.main, arguments, capsys)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "list.csv").write_text("a.mp4\n")
    for arguments, words in (
        ([*clip, "--render", str(shelf / "b.mp4")], "--render * is the input *"),
        (["--video_list", "list.csv", "--output", "list.csv"], "--output list.csv is the input list.csv"),
        (["--video_list", str(shelf / "b.mp4")], "b.mp4: not a list of names but a binary file"),
        (["--video_path", "-odd.mp4"], "write a name that starts with - as ./-name"),
        ([*clip, "--output", "list.csv"], "--output list.csv exists and is not a file of scores"),
    ):
        assert fnmatch(one_sentence(inference.main, [*arguments, *given], capsys), f"*{words}*")
    assert (tmp_path / "list.csv").read_text() == "a.mp4\n"
    arguments = [*clip, *given, "--output", "folder.csv"]
    assert "--output is a folder" in one_sentence(inference.main, arguments, capsys)


def test_unwritable_output_is_rejected_before_scoring(shelf, checkpoint, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(dataset.workers, "run_in_workers", lambda *_, **__: pytest.fail("scoring started"))
    arguments = ["--video_path", str(shelf / "b.mp4"), "--checkpoint", str(checkpoint), "--output", "file/s.csv"]
    one_sentence(inference.main, arguments, capsys)


def test_report_path_is_checked_first_and_closed_stdout_does_not_stop_the_report(shelf, checkpoint, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    given = ["--video_path", str(shelf / "empty.mp4"), "--checkpoint", str(checkpoint)]
    assert "--report cannot be written" in one_sentence(inference.main, [*given, "--report", "file"], capsys)
    command = [
        sys.executable,
        str(REPOSITORY / "inference.py"),
        *given,
        "--workers",
        "1",
        "--quiet",
        "--report",
        "page",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert "no clip could be scored" in process.stderr.read()
    assert process.returncode == 1 and (tmp_path / "page" / "report.html").is_file()


def test_named_pipe_is_rejected_without_opening_it(checkpoint, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.mp4")
    arguments = ["--video_path", str(tmp_path / "pipe.mp4"), "--checkpoint", str(checkpoint)]
    assert "is not a file but a named pipe" in one_sentence(inference.main, arguments, capsys)


def test_default_checkpoint_is_the_shipped_one_or_else_the_newest(shelf, tmp_path, capsys):
    runs = [random_checkpoint(tmp_path / "checkpoint" / name / "best.pth") for name in ("b_old", "a_new")]
    now = time.time()
    os.utime(runs[0], (now - 100, now - 100))
    clip = shelf / "b.mp4"
    assert call("--video_path", clip) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"checkpoint: {short_path(runs[1])}"
    shipped = random_checkpoint(tmp_path / "checkpoint" / "default.pth")
    os.utime(shipped, (now - 900, now - 900))
    assert call("--video_path", clip) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"checkpoint: {short_path(shipped)}"


def test_help_imports_no_heavy_library(tmp_path):
    code = (
        "import sys; sys.path.insert(0, {root!r}); import {command}\n"
        "try: {command}.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({{'torch', 'librosa', 'timm', 'sklearn', 'pandas', 'cv2', 'av'}} & set(sys.modules)))"
    )
    for command in ("main", "inference"):
        script = code.format(root=str(REPOSITORY), command=command)
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


def test_scoring_imports_no_library_used_only_for_decoding_or_fitting():
    script = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import engine.score_files\n"
        "print(sorted({'numba', 'sklearn', 'scipy.stats', 'scipy.optimize'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", "each library costs the scoring process tens of megabytes"
