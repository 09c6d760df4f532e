"""Resuming with changed settings: applied and recorded, or rejected."""

from __future__ import annotations

import html
import json
import re
import shutil

import pytest
import yaml

from engine.checkpoint import load_checkpoint
from engine.resume import recorded_changes, resumed_config
from engine.run import run_training
from tests.support import LABEL_FILES, made_clips, tiny_config, write_root, write_split
from utils.errors import UsageError

TRAIN = {"epochs": 2, "batch_size": 4, "lr": 0.01, "step_epochs": 1, "gamma": 0.5}


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Train for two epochs and return the run; tests use copies of it."""
    base = tmp_path_factory.mktemp("started")
    root = write_root(base / "data", signal=0.03)
    folder = run_training(tiny_config(root, train=TRAIN), submission=base / "prediction.txt.csv")
    return root, folder


@pytest.fixture
def last(started, tmp_path):
    """Copy the run and return the `last.pth` of the copy."""
    return shutil.copytree(started[1].path, tmp_path / "run") / "last.pth"


def resume(last, *overrides):
    config = resumed_config(str(last), overrides)
    return run_training(config, resume=str(last))


def settings_of(folder):
    return yaml.safe_load((folder.path / "config.yml").read_text())


@pytest.mark.parametrize(
    ("override", "rates"),
    [
        ("train.lr=0.1", [0.01, 0.005, 0.025, 0.0125]),
        ("train.gamma=0.1", [0.01, 0.005, 0.0001, 0.00001]),
        ("train.step_epochs=2", [0.01, 0.005, 0.005, 0.005]),
    ],
)
def test_changed_schedule_applies_from_the_next_epoch_and_is_recorded(last, override, rates):
    folder = resume(last, "train.epochs=4", override)
    history = folder.read_history()
    assert [epoch["lr"] for epoch in history] == pytest.approx(rates)
    path, _, value = override.partition("=")
    assert [epoch.get("changed") for epoch in history] == [
        None,
        None,
        {path: [TRAIN[path.removeprefix("train.")], float(value)]},
        None,
    ]
    assert settings_of(folder)["train"][path.removeprefix("train.")] == float(value)
    assert load_checkpoint(folder.last).run_config == settings_of(folder)
    report = html.unescape(re.sub("<[^>]*>", "", (folder.path / "report.html").read_text()))
    assert f"from epoch 3: {path} {TRAIN[path.removeprefix('train.')]} -> " in report
    assert f"settings changed from epoch 3 on: {path}" in (folder.path / "run.log").read_text()


def test_optimiser_uses_the_changed_learning_rate(last, started):
    folder = resume(last, "train.epochs=3", "train.lr=1e-9", "train.gamma=1")
    before, after = (load_checkpoint(path).weights for path in (started[1].last, folder.last))
    trained = [name for name in before if before[name].is_floating_point() and "running" not in name]
    assert max(float((before[name] - after[name]).abs().max()) for name in trained) < 1e-6


def test_changed_batch_size_and_augmentation_are_applied_and_recorded(started, tmp_path):
    changes = ["train.batch_size=8", "train.balance_classes=true", "train.augment.covariance_noise=0"]
    losses = []
    for index, overrides in enumerate([[], *([change] for change in changes)]):
        copy = shutil.copytree(started[1].path, tmp_path / str(index)) / "last.pth"
        epoch = resume(copy, "train.epochs=3", *overrides).read_history()[2]
        losses.append(epoch["train_loss"])
        assert list(epoch.get("changed", [])) == [override.partition("=")[0] for override in overrides]
    assert len(set(losses)) == len(losses)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.alpha=3", r"cannot change model\.alpha \(the weights depend on it\)"),
        ("features.video.top_k=8", r"cannot change features\.video\.top_k"),
        ("seed=5", r"cannot change seed"),
        ("name=other", r"cannot change name"),
        ("eval.tta=2", r"cannot change eval\.tta"),
        ("train.epochs=1", r"train\.epochs=1: the run has already trained 2 epochs"),
        ("train.lr=0.5", r"train\.lr: the run has trained all of its 2 epochs.*raise train\.epochs"),
    ],
)
def test_changes_that_cannot_be_applied_are_rejected_without_writing(last, override, words):
    before = {path: path.read_bytes() for path in last.parent.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=words):
        resume(last, override)
    assert {path: path.read_bytes() for path in last.parent.rglob("*") if path.is_file()} == before


def test_all_rejected_settings_are_named_at_once(last):
    with pytest.raises(UsageError, match=r"model\.alpha .*; seed "):
        resume(last, "seed=5", "model.alpha=3")


def test_data_may_move_but_not_change(last, started, tmp_path):
    moved = shutil.copytree(started[0], tmp_path / "moved", ignore=shutil.ignore_patterns("runs"))
    folder = resume(last, "train.epochs=3", f"extract_path={moved}")
    assert "extract_path" in folder.read_history()[2]["changed"]
    write_split(moved, "trainset", made_clips(6, "t"))
    with pytest.raises(UsageError, match=rf"{LABEL_FILES['trainset']}: its names or targets differ"):
        resume(last, "train.epochs=4", f"extract_path={moved}")


def test_settings_that_do_not_affect_training_may_change_after_it(last):
    folder = resume(last, "evaluate=test", "eval.bootstrap=150", "data.workers=1")
    metrics = json.loads((folder.path / "metrics.json").read_text())
    assert metrics["split"] == "testset" and len(folder.read_history()) == 2


def test_changes_of_all_sessions_are_reported():
    history = [{"epoch": 1}, {"epoch": 2, "changed": {"train.lr": [1, 2]}}, {"epoch": 3, "changed": {"seed": [0, 1]}}]
    assert recorded_changes(history) == "from epoch 2: train.lr 1 -> 2; from epoch 3: seed 0 -> 1"
