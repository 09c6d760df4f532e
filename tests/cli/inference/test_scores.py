"""`inference.py`: rows, columns and reasons of the scores."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

import inference
from tests.cli.inference.conftest import COLUMNS, call, rows_of
from tests.support import REPOSITORY, one_sentence, random_checkpoint, tiny_model
from utils.files import short_path


def test_folder_gives_one_row_per_clip_in_path_order(shelf, checkpoint, capsys):
    assert call("--video_dir", shelf, "--checkpoint", checkpoint) == 0
    rows = rows_of()
    assert list(rows[0])[:7] == COLUMNS and set(list(rows[0])[7:]) == {
        "evidence_head",
        "evidence_cosine",
        "real_threshold",
        "faces",
        "checkpoint",
    }
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


def test_clip_without_suffix_is_scored_to_json(shelf, checkpoint, tmp_path):
    clip = tmp_path / "ünusual name without suffix"
    shutil.copy(shelf / "b.mp4", clip)
    output = tmp_path / "new folder" / "scores.json"
    assert call("--video_path", clip, "--checkpoint", checkpoint, "--output", output) == 0
    text = output.read_text(encoding="utf-8")
    (row,) = json.loads(text)
    assert "ünusual" in text
    assert list(row)[:7] == COLUMNS and row["video"] == str(clip)
    assert 0 < row["score"] < 1 and row["status"] == "ok" and row["reason"] == ""


def test_no_scored_clip_exits_1_after_writing_the_output(tmp_path, checkpoint, capsys):
    (tmp_path / "text.mp4").write_text("no clip")
    arguments = ["--video_path", str(tmp_path / "text.mp4"), "--checkpoint", str(checkpoint), "--output", "s.json"]
    line = one_sentence(inference.main, [*arguments, "--workers", "1", "--quiet"], capsys, code=1)
    assert "no clip could be scored" in line and "s.json" in line
    (row,) = json.loads((tmp_path / "s.json").read_text())
    assert (row["score"], row["logit"], row["verdict"], row["reason"]) == (None, None, "unscored", "unreadable")


def test_clip_without_audio_is_unscored_if_the_model_needs_audio(shelf, tmp_path):
    path = random_checkpoint(tmp_path / "mel.pth", tiny_model("mel_baseline"))
    folder = tmp_path / "two"
    folder.mkdir()
    shutil.copy(shelf / "a" / "no audio.mkv", folder)
    shutil.copy(shelf / "b.mp4", folder)
    assert call("--video_dir", folder, "--checkpoint", path) == 0
    scored, mute = rows_of()
    assert (scored["video"], scored["verdict"] == "unscored") == (str(folder / "b.mp4"), False)
    assert (mute["verdict"], mute["reason"], mute["score"], mute["evidence_mel"]) == ("unscored", "no_audio", "", "")


def test_skipped_files_are_counted_on_standard_error(shelf, checkpoint, tmp_path):
    command = [sys.executable, str(REPOSITORY / "inference.py"), "--video_dir", str(shelf), "--workers", "1", "--quiet"]
    done = subprocess.run([*command, "--checkpoint", str(checkpoint)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == f"{shelf}: left out: 1 file with another suffix (.txt), 1 hidden entry\n"


def test_unscored_clip_has_all_columns(shelf, checkpoint):
    assert call("--video_path", shelf / "empty.mp4", "--checkpoint", checkpoint, "--output", "scores.json") == 1
    (row,) = json.loads(Path("scores.json").read_text())
    assert list(row)[:7] == COLUMNS and row["evidence_head"] is None and row["evidence_cosine"] is None


def test_broken_link_has_a_row(shelf, checkpoint, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "gone.mp4").symlink_to(tmp_path / "absent.mp4")
    shutil.copy(shelf / "b.mp4", tmp_path / "clips")
    assert call("--video_dir", tmp_path / "clips", "--checkpoint", checkpoint) == 0
    assert [row["reason"] for row in rows_of()] == ["", "missing_file"]


def test_script_scores_a_folder_from_another_directory(shelf, checkpoint, tmp_path):
    command = [sys.executable, str(REPOSITORY / "inference.py"), "--video_dir", str(shelf / "deep")]
    options = ["--checkpoint", str(checkpoint), "--workers", "1"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr
    assert len(pd.read_csv(tmp_path / "scores.csv")) == 1
