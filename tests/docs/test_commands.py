"""Commands in documents and docstrings parse, and those that need no data set run."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.commands import ROOT, Command, docstring_commands, document_commands, faults_of
from tests.support import REPOSITORY

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = [*ROOT.glob("*.py"), *sorted((ROOT / "utils").glob("*.py")), ROOT / "benchmarks" / "run.py"]


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    """Restore `sys.path`, whose first entry is changed when a command is imported."""
    monkeypatch.setattr(sys, "path", [str(REPOSITORY), *sys.path])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_parse(path):
    faults = [fault for command in document_commands(path) for fault in faults_of(command)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_commands_in_docstrings_parse(path):
    docstring = path.read_text(encoding="utf-8").split('"""')[1]
    faults = [fault for command in docstring_commands(path, docstring) for fault in faults_of(command)]
    assert not faults, "\n".join(faults)


WRONG = [
    ("no_such.py", "", "no command"),
    ("main.py", "--no_such 1", "unrecognized arguments"),
    ("inference.py", "--video_path a.mp4 --tta 3", "invalid choice"),
    ("inference.py", "--video_path a.mp4 --workers many", "invalid int"),
    ("inference.py", "(--video_path F | --folder D)", "--watch is required"),
    ("utils/evaluate_predictions.py", "A.csv [--policy exclude|as-maybe]", "invalid choice"),
    ("utils/make_splits.py", "--labels a.csv --by source", "required"),
    ("main.py", "--config cfg/no_such.yml", "no config file"),
    ("main.py", "--set train.learning_rate=1", "train.learning_rate"),
    ("main.py", "--set train.epochs=many", "train.epochs"),
    ("utils/run_experiments.py", "cfg/cfg.yml --set mel_baseline:train.lr=1", "no config mel_baseline"),
]


@pytest.mark.parametrize(("script", "rest", "message"), WRONG)
def test_checker_reports_a_wrong_command(script, rest, message):
    (fault,) = faults_of(Command("README.md:1", script, rest, complete=True))
    assert fault.startswith("README.md:1: ") and message in fault


def test_checker_joins_continued_lines_and_reports_their_first_line(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.docs.commands.ROOT", tmp_path)
    (tmp_path / "README.md").write_text("# A\n```bash\npython main.py \\\n  --set \\\n  train.lr=1  # a comment\n```\n")
    (command,) = document_commands(tmp_path / "README.md")
    assert (command.place, command.script, command.rest.split()) == ("README.md:3", "main.py", ["--set", "train.lr=1"])


LABELS = """video_name,target,identity,source,generator,group
a.mp4,0,p1,s1,,g1
b.mp4,1,p1,s1,x,g1
c.mp4,0,p2,s2,,g2
d.mp4,1,p2,s2,y,g2
e.mp4,0,p3,s3,,g3
f.mp4,1,p3,s3,x,g3
g.mp4,0,p4,s4,,g000012
h.mp4,1,p4,s4,y,g000012
i.mp4,0,p5,s5,,g5
j.mp4,1,p5,s5,x,g5
"""
PREDICTIONS = "video_name,target,score\n" + "".join(
    f"{name}.mp4,{i % 2},0.{i + 1}\n" for i, name in enumerate("abcdefgh")
)
RUNNABLE = ("utils/make_splits.py", "utils/evaluate_predictions.py", "utils/import_labels.py")


def fill(folder: Path) -> None:
    """Write the small files that commands in documents read."""
    (folder / "data").mkdir()
    for name in ("labels.csv", "folds.csv", "data/trainset_label.txt", "data/valset_label.txt"):
        (folder / name).write_text(LABELS)
    for name in ("predictions.csv", "a.csv", "b.csv"):
        (folder / name).write_text(PREDICTIONS)
    for name in ("real/a.mp4", "fake/b.mp4"):
        (folder / "my_clips" / name).parent.mkdir(parents=True)
        (folder / "my_clips" / name).touch()


def runnable() -> list[Command]:
    """Return the complete commands in documents that need neither clips nor an external data set."""
    found = [command for path in DOCUMENTS for command in document_commands(path) if command.complete]
    return [
        command
        for command in found
        if command.script in RUNNABLE
        and not command.is_synopsis
        and "--near_duplicates" not in command.rest
        and ("--dataset" not in command.rest or "--dataset folders" in command.rest)
    ]


@pytest.mark.parametrize("command", runnable(), ids=lambda command: command.place)
def test_cheap_commands_in_documents_run(command, tmp_path):
    fill(tmp_path)
    done = subprocess.run(
        [sys.executable, str(ROOT / command.script), *shlex.split(command.rest)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
