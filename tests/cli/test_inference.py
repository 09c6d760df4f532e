"""`inference.py`: search, output, exit codes."""

from __future__ import annotations

import csv
import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import engine.detector
import engine.score_files
import inference
from tests.support import REPOSITORY, one_sentence, random_checkpoint, tiny_model, write_video
from utils.command import run_command
from utils.files import short_path

COLUMNS = ["video", "score", "logit", "verdict", "threshold", "status", "reason"]


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """Return a folder of clips with sub-folders and other files."""
    folder = tmp_path_factory.mktemp("shelf") / "clips"
    write_video(folder / "b.mp4", 0)
    write_video(folder / "deep" / "er" / "ナ 1.MP4", 1)
    write_video(folder / "a" / "no audio.mkv", 2, audio=False)
    write_video(folder / "z no video.mp4", 3, video=False)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "readme.txt").write_text("no clip")
    (folder / ".hidden").mkdir()
    shutil.copy(folder / "b.mp4", folder / ".hidden" / "c.mp4")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.pth")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Run in an empty working directory, with an empty checkpoint folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine.detector, "CHECKPOINTS", tmp_path / "checkpoint")


def call(*arguments):
    options = ["--workers", "1", "--device", "cpu", "--quiet"]
    return run_command(inference.main, [*map(str, arguments), *options])


def rows_of(path="scores.csv"):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_gives_one_row_per_clip_in_path_order(shelf, checkpoint, capsys):
    assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 0
    rows = rows_of()
    assert list(rows[0])[:7] == COLUMNS and set(list(rows[0])[7:]) == {"evidence_head", "evidence_cosine"}
    names = ["a/no audio.mkv", "b.mp4", "deep/er/ナ 1.MP4", "empty.mp4", "z no video.mp4"]
    assert [row["video"] for row in rows] == [str(shelf / name) for name in names]
    assert [(row["status"], row["reason"]) for row in rows] == [
        ("partial", "no_audio"), ("ok", ""), ("ok", ""), ("failed", "unreadable"), ("partial", "no_video")
    ]  # fmt: skip
    scored = [row for row in rows if row["verdict"] != "unscored"]
    assert len(scored) == 4
    for row in scored:
        assert 0 < float(row["score"]) < 1 and row["verdict"] == ("fake" if float(row["score"]) >= 0.5 else "real")
        assert float(row["threshold"]) == 0.5
    assert (rows[3]["score"], rows[3]["logit"], rows[3]["verdict"]) == ("", "", "unscored")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"checkpoint: {short_path(checkpoint)}"
    assert len([line for line in printed if ".m" in line.lower() and "clips," not in line]) >= 5
    assert printed[-1] == "5 clips, 4 scored -> scores.csv"


def test_a_clip_without_suffix_is_scored_to_json(shelf, checkpoint, tmp_path):
    clip = tmp_path / "ünusual name without suffix"
    shutil.copy(shelf / "b.mp4", clip)
    output = tmp_path / "new folder" / "scores.json"
    assert call("--video_path", clip, "--checkpoint", checkpoint, "--output", output) == 0
    text = output.read_text(encoding="utf-8")
    (row,) = json.loads(text)
    assert "ünusual" in text
    assert list(row)[:7] == COLUMNS and row["video"] == str(clip)
    assert 0 < row["score"] < 1 and row["status"] == "ok" and row["reason"] == ""


def test_without_any_score_the_output_is_written_and_the_exit_code_is_1(tmp_path, checkpoint, capsys):
    (tmp_path / "text.mp4").write_text("no clip")
    arguments = ["--video_path", str(tmp_path / "text.mp4"), "--checkpoint", str(checkpoint), "--output", "s.json"]
    line = one_sentence(inference.main, [*arguments, "--workers", "1", "--quiet"], capsys, code=1)
    assert "no clip could be scored" in line and "s.json" in line
    (row,) = json.loads((tmp_path / "s.json").read_text())
    assert (row["score"], row["logit"], row["verdict"], row["reason"]) == (None, None, "unscored", "unreadable")


def test_a_model_that_needs_audio_leaves_a_clip_without_audio_unscored(shelf, tmp_path):
    path = random_checkpoint(tmp_path / "mel.pth", tiny_model("mel_baseline"))
    folder = tmp_path / "two"
    folder.mkdir()
    shutil.copy(shelf / "a" / "no audio.mkv", folder)
    shutil.copy(shelf / "b.mp4", folder)
    assert call("--video_dir", folder, "--checkpoint", path) == 0
    scored, mute = rows_of()
    assert (scored["video"], scored["verdict"] == "unscored") == (str(folder / "b.mp4"), False)
    assert (mute["verdict"], mute["reason"], mute["score"], mute["evidence_mel"]) == ("unscored", "no_audio", "", "")


def test_the_default_checkpoint_is_the_shipped_one_then_the_newest_run(shelf, tmp_path, capsys):
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


def test_wrong_usage_is_one_sentence_and_exit_2(shelf, checkpoint, tmp_path, capsys):
    (tmp_path / "bare").mkdir()
    (tmp_path / "file").write_text("")
    clip, given = ["--video_path", str(shelf / "b.mp4")], ["--checkpoint", str(checkpoint)]
    cases = [
        ([], "--video_path --video_dir is required"),
        ([*clip, "--video_dir", str(shelf)], "not allowed with"),
        (clip, "make demo"),
        (["--video_path", "none.mp4", *given], "--video_path does not exist: none.mp4"),
        (["--video_path", "bare", *given], "--video_path is not a file"),
        (["--video_dir", "none", *given], "--video_dir does not exist: none"),
        (["--video_dir", "file", *given], "is a file, not a folder"),
        (["--video_dir", "bare", *given], "no clip in it"),
        ([*clip, "--checkpoint", "none.pth"], "checkpoint does not exist: none.pth"),
        ([*clip, *given, "--output", "scores.txt"], "ends in .csv or .json"),
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
    arguments = [*clip, *given, "--output", "folder.csv"]
    assert "--output is a folder" in one_sentence(inference.main, arguments, capsys)


def cut_short(monkeypatch, count, error=KeyboardInterrupt):
    """Let decoding stop with an error after some clips."""
    decode = engine.detector.run_in_workers

    def stop_early(*arguments, **options):
        yield from itertools.islice(decode(*arguments, **options), count)
        raise error

    monkeypatch.setattr(engine.detector, "run_in_workers", stop_early)


def test_ctrl_c_keeps_scores_and_marks_the_other_clips_pending(shelf, checkpoint, monkeypatch, capsys):
    cut_short(monkeypatch, 2)
    assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 130
    message = capsys.readouterr().err
    assert "everything finished so far is kept" in message and "Traceback" not in message
    rows = rows_of()
    assert [row["status"] for row in rows] == ["partial", "ok", "pending", "pending", "pending"]
    assert [row["verdict"] == "unscored" for row in rows] == [False, False, True, True, True]


def test_scores_are_written_while_the_run_goes_on(shelf, checkpoint, monkeypatch):
    monkeypatch.setattr(engine.score_files, "WRITE_EVERY_S", 0.0)
    seen = []
    write = engine.score_files.write_scores
    monkeypatch.setattr(
        engine.score_files, "write_scores", lambda table, path: (write(table, path), seen.append(rows_of()))
    )
    assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 0
    assert [sum(row["status"] == "pending" for row in rows) for rows in seen] == [4, 3, 2, 1, 0]
    assert [row["video"] for row in seen[0]] == [row["video"] for row in seen[-1]]


def cannot_write(path_suffix, times=10**9):
    """Return an `os.replace` that fails with a full disk, the first times, for files with this suffix."""
    replace, left = os.replace, itertools.count(1)

    def full(source, target):
        if str(target).endswith(path_suffix) and next(left) <= times:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    return full


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_full_disk_loses_no_score(shelf, checkpoint, monkeypatch, capsys, interrupted):
    monkeypatch.setattr("utils.files.os.replace", cannot_write("scores.csv"))
    if interrupted:
        cut_short(monkeypatch, 2)
    assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 1
    printed = capsys.readouterr()
    assert printed.err == "error: scores.csv cannot be written: No space left on device\n"
    (line,) = [line for line in printed.out.splitlines() if "b.mp4" in line]
    assert line.split()[1].startswith("0.") and line.split()[2] in ("fake", "real")
    assert not list(Path().glob("*.csv")) and not list(Path().glob(".writing*"))


def test_a_report_that_cannot_be_written_keeps_the_scores(shelf, checkpoint, monkeypatch, capsys):
    monkeypatch.setattr("utils.files.os.replace", cannot_write("report.html"))
    assert call("--video_path", shelf / "b.mp4", "--checkpoint", checkpoint, "--report", "page") == 1
    printed = capsys.readouterr()
    assert printed.err == "error: page/report.html cannot be written: No space left on device\n"
    assert "b.mp4" in printed.out and len(rows_of()) == 1


def test_a_disk_that_is_full_for_a_while_does_not_end_the_run(shelf, checkpoint, monkeypatch, caplog):
    monkeypatch.setattr(engine.score_files, "WRITE_EVERY_S", 0.0)
    monkeypatch.setattr("utils.files.os.replace", cannot_write("scores.csv", times=2))
    assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 0
    assert len(rows_of()) == 5
    messages = [record.getMessage() for record in caplog.records if record.name == "engine.score_files"]
    assert messages == ["scores.csv cannot be written: No space left on device; scoring continues"] * 2


def test_an_unexpected_error_keeps_the_scores(shelf, checkpoint, monkeypatch):
    cut_short(monkeypatch, 2, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        call("--video_dir", shelf, "--checkpoint", checkpoint, "--batch_size", "1")
    assert [row["status"] for row in rows_of()].count("pending") == 3


def test_files_left_out_of_a_folder_are_counted_on_standard_error(shelf, checkpoint, tmp_path):
    command = [sys.executable, str(REPOSITORY / "inference.py"), "--video_dir", str(shelf), "--workers", "1", "--quiet"]
    done = subprocess.run([*command, "--checkpoint", str(checkpoint)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == f"{shelf}: left out: 1 file with another suffix (.txt), 1 hidden entry\n"


def test_a_named_pipe_is_refused_without_opening_it(checkpoint, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.mp4")
    arguments = ["--video_path", str(tmp_path / "pipe.mp4"), "--checkpoint", str(checkpoint)]
    assert "is not a file but a named pipe" in one_sentence(inference.main, arguments, capsys)


def test_an_unscored_clip_has_all_columns(shelf, checkpoint):
    assert call("--video_path", shelf / "empty.mp4", "--checkpoint", checkpoint, "--output", "scores.json") == 1
    (row,) = json.loads(Path("scores.json").read_text())
    assert list(row)[:7] == COLUMNS and row["evidence_head"] is None and row["evidence_cosine"] is None


def test_the_report_path_is_checked_first_and_a_closed_pipe_does_not_stop_the_report(
    shelf, checkpoint, tmp_path, capsys
):
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


def test_a_broken_link_has_a_row(shelf, checkpoint, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "gone.mp4").symlink_to(tmp_path / "absent.mp4")
    shutil.copy(shelf / "b.mp4", tmp_path / "clips")
    assert call("--video_dir", tmp_path / "clips", "--checkpoint", checkpoint) == 0
    assert [row["reason"] for row in rows_of()] == ["", "missing_file"]


def test_an_output_that_cannot_be_written_is_refused_before_scoring(shelf, checkpoint, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(engine.detector, "run_in_workers", lambda *_, **__: pytest.fail("the work had begun"))
    arguments = ["--video_path", str(shelf / "b.mp4"), "--checkpoint", str(checkpoint), "--output", "file/s.csv"]
    one_sentence(inference.main, arguments, capsys)


def test_the_script_scores_a_folder_from_another_directory(shelf, checkpoint, tmp_path):
    command = [sys.executable, str(REPOSITORY / "inference.py"), "--video_dir", str(shelf / "deep")]
    options = ["--checkpoint", str(checkpoint), "--workers", "1"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr
    assert len(pd.read_csv(tmp_path / "scores.csv")) == 1


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


def test_scoring_loads_no_library_for_decoding_or_fitting_only():
    script = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import engine.score_files\n"
        "print(sorted({'numba', 'sklearn', 'scipy.stats', 'scipy.optimize'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", "each costs the scoring process tens of megabytes"
