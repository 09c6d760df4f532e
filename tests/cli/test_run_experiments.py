"""`utils/run_experiments.py`: output, files, and rejected arguments."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.support import one_sentence, tiny_settings, write_root
from utils.command import run_command
from utils.run_experiments import main


@pytest.fixture
def configs(tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    root = write_root(tmp_path / "data", train=8, val=8, test=2)
    settings = tiny_settings(root, train={"epochs": 1, "batch_size": 4, "lr": 0.001})
    settings.pop("output_dir")
    for name, alpha in (("one", 1.0), ("two", 2.0)):
        model = {**settings["model"], "alpha": alpha}
        Path(f"{name}.yml").write_text(yaml.safe_dump({**settings, "name": name, "model": model}))
    return ["one.yml", "two.yml"]


def test_table_is_printed_and_written(configs, capsys):
    assert run_command(main, [*configs, "--output", "out", "--set", "eval.batch_size=4", "data.workers=0"]) == 0
    printed = capsys.readouterr().out
    assert printed == Path("out/experiments.md").read_text()
    assert [line.split(" | ")[0] for line in printed.splitlines()[:4]] == ["| config", "| ---", "| one", "| two"]
    assert pd.read_csv("out/experiments.csv")["config"].tolist() == ["one", "two"]
    assert not Path("prediction.txt.csv").exists()


def test_no_finished_run_exits_1(configs, capsys):
    argv = [*configs, "--output", "out", "--set", "extract_path=nowhere"]
    assert "no run finished" in one_sentence(main, argv, capsys, code=1)
    assert "trainset is needed, but its label file" in Path("out/experiments.md").read_text()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "required: CONFIG"),
        (["none.yml"], "does not exist"),
        (["one.yml", "one.yml"], "both have the name 'one'"),
        (["one.yml", "--seeds", "1", "1"], "distinct integers"),
        (["one.yml", "--seeds", "-1"], "at least 0"),
        (["one.yml", "--set", "train.epoch=1"], "did you mean 'epochs'"),
        (["one.yml", "two.yml", "--set", "tow:train.lr=1"], "--set tow:train.lr=1: no config is called 'tow'"),
        (["one.yml", "--output", "one.yml"], "cannot be written"),
    ],
)
def test_wrong_usage_gives_one_sentence(argv, words, configs, capsys):
    assert words in one_sentence(main, argv, capsys)
