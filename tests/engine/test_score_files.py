"""Hostile file names in score files and in the table on the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from engine.score_files import format_scores, write_scores
from utils.metrics import Calibration


def table_of(name: str) -> pd.DataFrame:
    row = {"video": name, "score": 0.5, "verdict": "fake", "reason": ""}
    return pd.DataFrame([row])


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_has_no_formula_and_the_path_stays_valid(tmp_path: Path, monkeypatch, start: str) -> None:
    monkeypatch.chdir(tmp_path)
    name = f'{start}HYPERLINK("x","y").mp4'
    Path(name).touch()
    write_scores(table_of(name), tmp_path / "scores.csv")
    (stored,) = pd.read_csv(tmp_path / "scores.csv", lineterminator="\n")["video"]
    assert stored == f"./{name}"
    assert Path(stored).samefile(name)


def test_other_names_are_stored_as_given(tmp_path: Path) -> None:
    for name in ("a.mp4", "folder/=a.mp4", "/x/-a.mp4"):
        write_scores(table_of(name), tmp_path / "scores.csv")
        assert pd.read_csv(tmp_path / "scores.csv")["video"].tolist() == [name]


def test_json_keeps_the_name(tmp_path: Path) -> None:
    write_scores(table_of("=a\x1b[31m.mp4"), tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text())[0]["video"] == "=a\x1b[31m.mp4"


def test_terminal_table_has_no_control_characters() -> None:
    shown = format_scores(table_of("a\x1b[31m\r\nb\u202e.mp4"), Calibration())
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert any("a" in line and "b" in line and "fake" in line for line in shown.splitlines())
