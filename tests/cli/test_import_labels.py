"""`utils/import_labels.py`: files, output, and rejected arguments."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tests.support import one_sentence
from utils.command import run_command
from utils.import_labels import main

PART = {
    "a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"},
    "b.mp4": {"label": "REAL", "split": "train", "original": None},
}


@pytest.fixture
def metadata(tmp_path):
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(PART))
    return path


def call(*argv):
    assert run_command(main, [str(word) for word in argv]) == 0


def test_label_file_is_written_and_reported(metadata, tmp_path, capsys):
    output = tmp_path / "new" / "labels.csv"
    call("--dataset", "dfdc", "--metadata", metadata, "--split", "train", "--output", output)
    table = pd.read_csv(output, keep_default_na=False)
    assert table["video_name"].tolist() == ["a.mp4", "b.mp4"] and table["target"].tolist() == [1, 0]
    assert list(table)[:6] == ["video_name", "target", "type", "source", "identity", "spans"]
    assert capsys.readouterr().out == f"{output}: 2 clips, 1 real and 1 fake\n"
    call("--dataset", "MultiFFDV", "--metadata", output, "--output", tmp_path / "again.csv")


def test_notes_are_printed_to_standard_error(tmp_path, capsys):
    for name in ("real/a.mp4", "fake/b.mp4"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).touch()
    call("--dataset", "folders", "--metadata", tmp_path / "set", "--output", tmp_path / "labels.csv")
    printed = capsys.readouterr()
    assert printed.err.startswith("note: the two folders") and "2 clips" in printed.out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--dataset", "Celeb"], "unknown data set"),
        (["--metadata", "nowhere.json"], "no such file or folder"),
        (["--split", "val"], "this metadata has only train"),
        (["--split", "dev"], "invalid choice"),
        (["--output", "."], "is a folder"),
        (["--video_dir", "nowhere"], "no such folder"),
        (["--dataset", "LAV-DF"], "expected LAV-DF's metadata.json"),
    ],
)
def test_wrong_usage_gives_one_sentence(argv, words, metadata, tmp_path, capsys):
    usual = ["--dataset", "DFDC", "--metadata", str(metadata), "--output", str(tmp_path / "labels.csv")]
    assert words in one_sentence(main, [*usual, *argv], capsys)
    assert not (tmp_path / "labels.csv").exists()
