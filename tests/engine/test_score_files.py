"""Hostile file names in score files and in the table on the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from engine.score_lines import ScoreLines
from engine.score_rows import COLUMNS
from engine.score_writer import ScoreWriter


def write_scores(name: str, path: Path) -> None:
    writer = ScoreWriter(path, COLUMNS)
    writer.add({"video": name, "score": 0.5, "verdict": "fake", "reason": ""})
    writer.close()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_has_no_formula_and_the_path_stays_valid(tmp_path: Path, monkeypatch, start: str) -> None:
    monkeypatch.chdir(tmp_path)
    name = f'{start}HYPERLINK("x","y").mp4'
    Path(name).touch()
    write_scores(name, tmp_path / "scores.csv")
    (stored,) = pd.read_csv(tmp_path / "scores.csv", lineterminator="\n")["video"]
    assert stored == f"./{name}"
    assert Path(stored).samefile(name)


@pytest.mark.parametrize("delimiter", [";", "|"])
def test_no_other_delimiter_can_begin_a_cell_with_a_formula(tmp_path: Path, delimiter: str) -> None:
    name = f"a{delimiter}=1+1{delimiter}.mp4"
    write_scores(name, tmp_path / "scores.csv")
    assert pd.read_csv(tmp_path / "scores.csv")["video"].tolist() == [name]
    cells = pd.read_csv(tmp_path / "scores.csv", sep=delimiter, header=None, skiprows=1)
    assert cells.shape == (1, 1)


def test_other_names_are_stored_as_given(tmp_path: Path) -> None:
    for name in ("a.mp4", "folder/=a.mp4", "/x/-a.mp4"):
        write_scores(name, tmp_path / "scores.csv")
        assert pd.read_csv(tmp_path / "scores.csv")["video"].tolist() == [name]


def test_json_keeps_the_name(tmp_path: Path) -> None:
    write_scores("=a\x1b[31m.mp4", tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text())[0]["video"] == "=a\x1b[31m.mp4"


@pytest.mark.parametrize("width", [None, 80])
def test_terminal_table_has_no_control_characters(width: int | None) -> None:
    row = {"video": "a\x1b[31m\r\nb\u202e.mp4", "score": 0.5, "verdict": "fake", "reason": ""}
    shown = ScoreLines((), width=width).line(row)
    assert all(char.isprintable() or char == "\t" for char in shown) and "fake" in shown
