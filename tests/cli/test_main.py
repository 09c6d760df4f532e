"""`main.py`: arguments, exit codes and messages."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

import engine.train
import main
from engine.checkpoint import load_checkpoint
from tests.support import REPOSITORY, one_sentence, random_checkpoint, tiny_settings, write_root, write_tiny_config
from utils.command import run_command


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_root(tmp_path / "data", train=8, val=4, test=4)


def test_command_trains_resumes_and_evaluates(root, tmp_path):
    config = str(write_tiny_config(root, train={"epochs": 1}))
    assert run_command(main.main, ["--config", config, "--set", "train.lr=1e-4", "--set", "name=first"]) == 0
    (folder,) = (root / "runs").iterdir()
    assert folder.name.endswith("_first")
    assert load_checkpoint(folder / "best.pth").run_config["train"]["lr"] == 1e-4
    assert (tmp_path / "prediction.txt.csv").is_file()

    assert run_command(main.main, ["--resume", str(folder / "last.pth"), "--set", "train.epochs=2"]) == 0
    assert load_checkpoint(folder / "last.pth").epoch == 2
    assert list((root / "runs").iterdir()) == [folder]

    given = tmp_path / "given.csv"
    given.write_text("video_name,y_pred\nt000.mp4,0.5\nother.mp4,0.25\n")
    merge = ["--merge_into", str(given), "--output", "merged.csv", "--set", "evaluate=test"]
    assert run_command(main.main, ["--config", config, "--checkpoint", str(folder / "best.pth"), *merge]) == 0
    assert pd.read_csv("merged.csv")["video_name"].tolist() == ["t000.mp4", "other.mp4"]
    assert len(list((root / "runs").iterdir())) == 2


def test_interrupt_exits_130_and_keeps_finished_epochs(root, monkeypatch, capsys):
    steps = iter(range(100))

    def interrupted(model, batch, class_weights=None, loss=engine.train.batch_loss):
        if next(steps) == 3:  # an epoch has two steps
            raise KeyboardInterrupt
        return loss(model, batch, class_weights)

    monkeypatch.setattr(engine.train, "batch_loss", interrupted)
    assert run_command(main.main, ["--config", str(write_tiny_config(root))]) == 130
    (folder,) = (root / "runs").iterdir()
    message = f"interrupted: everything finished so far is kept; continue with --resume {folder / 'last.pth'}\n"
    error = capsys.readouterr().err
    assert error.endswith(message) and "Traceback" not in error
    assert load_checkpoint(folder / "last.pth").epoch == 1


def test_non_finite_loss_exits_1(root, monkeypatch, capsys):
    monkeypatch.setattr(
        engine.train, "batch_loss", lambda model, batch, _=None: (model(batch).logit.sum() * float("nan"), batch.target)
    )
    line = one_sentence(main.main, ["--config", str(write_tiny_config(root))], capsys, code=1)
    assert "the loss is nan" in line and ".mp4" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "train.epocs=3"], "did you mean 'epochs'"),
        (["--set", "train"], "expected key.path=value"),
        (["--set", "model.name=ffdv_cow"], "did you mean 'ffdv_cov'"),
        (["--set", "model.backbone=resnet1900"], "timm has no model 'resnet1900'"),
        (["--set", "device=cuda:99"], "CUDA device"),
        (["--set", "extract_path=nowhere"], "make demo"),
        (["--config", "none.yml"], "config file does not exist: none.yml"),
        (["--config", "."], "is a folder"),
        (["--checkpoint", "a.pth", "--resume", "b.pth"], "give only one of them"),
        (["--merge_into", "a.csv"], "require --checkpoint"),
        (["--output", "a.csv"], "require --checkpoint"),
        (["--resume", "none.pth"], "checkpoint does not exist: none.pth"),
        (["--nonsense"], "--nonsense"),
        (["extra"], "extra"),
    ],
)
def test_wrong_usage_gives_one_sentence_and_exits_2(root, arguments, words, capsys):
    if "--config" not in arguments and "--resume" not in arguments:
        arguments = ["--config", str(write_tiny_config(root)), *arguments]
    assert words in one_sentence(main.main, arguments, capsys)
    assert not (root / "runs").exists()


def test_evaluation_rejects_an_invalid_config(root, capsys):
    path = write_tiny_config(root, model={"name": "ffdv_cov", "alhpa": 1})
    checkpoint = random_checkpoint(root / "best.pth")
    line = one_sentence(main.main, ["--config", str(path), "--checkpoint", str(checkpoint)], capsys)
    assert "model.alhpa" in line


def test_script_prints_one_sentence_for_an_invalid_config(tmp_path):
    (tmp_path / "list.yml").write_text("- a\n")
    command = [sys.executable, str(REPOSITORY / "main.py"), "--config", "list.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: list.yml: expected `key: value` lines, found a list\n"


def test_tiny_settings_select_the_default_model(root):
    assert tiny_settings(root)["model"]["name"] == "ffdv_cov"
