"""`utils/merge_labels.py`: output, notes, and rejected arguments."""

from __future__ import annotations

import pytest

from dataset.labels import read_labels
from tests.support import one_sentence
from utils.command import run_command
from utils.merge_labels import main


@pytest.fixture
def files(tmp_path):
    found = []
    for name in ("one", "two"):
        (tmp_path / name / "clips").mkdir(parents=True)
        (tmp_path / name / "clips" / "a.wav").touch()
        (tmp_path / name / "labels.csv").write_text(f"name,target,source\na.wav,{int(name == 'two')},S1\n")
        found.append(str(tmp_path / name / "labels.csv"))
    return found


def test_merged_file_is_written_and_reported(files, tmp_path, capsys):
    output = tmp_path / "data" / "labels.csv"
    assert run_command(main, [*files, "--output", str(output)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == f"{output}: 2 clips, 1 real and 1 fake"
    assert "data.video_dir.trainset=." in printed.out and "note: 1 source(s) occur in several sets" in printed.err
    assert read_labels(output)["video_name"].tolist() == ["one/a.wav", "two/a.wav"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--output", "."], "is a folder"),
        (["--output", "x.csv", "--clips", "nowhere"], "no such folder"),
        (["--output", "x.csv", "--sources", "merge"], "invalid choice"),
        ([], "--output"),
    ],
)
def test_wrong_arguments_give_one_sentence(files, argv, words, capsys):
    assert words in one_sentence(main, [*files, *argv], capsys)
