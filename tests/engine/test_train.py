"""The training loop: repeatability, resuming, and non-finite losses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

import engine.train
from engine.checkpoint import load_checkpoint
from engine.resume import resumed_config
from engine.run import run_training
from engine.training_state import TrainingState
from tests.support import REPOSITORY, made_clips, tiny_config, tiny_model, write_root, write_split, write_tiny_config
from utils.errors import UsageError, WorkError

pytestmark = pytest.mark.usefixtures("one_thread")

KILLED_IN_EPOCH_2 = """
import os, signal, sys
import torch
torch.set_num_threads(1)
import engine.train as train
steps = 0
def step(*arguments, loss=train.batch_loss):
    global steps
    steps += 1
    if steps == 6:  # four steps make the first epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(*arguments)
train.batch_loss = step
import main
main.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("loop"), signal=0.03)


def same_weights(left, right):
    left, right = load_checkpoint(left).weights, load_checkpoint(right).weights
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def untimed(folder):
    return [
        {key: value for key, value in epoch.items() if key not in ("seconds", "train_clips_per_s")}
        for epoch in folder.read_history()
    ]


def assert_same_run(left, right):
    assert json.loads((left.path / "metrics.json").read_text()) == json.loads((right.path / "metrics.json").read_text())
    assert (left.path / "predictions.csv").read_bytes() == (right.path / "predictions.csv").read_bytes()
    assert untimed(left) == untimed(right)
    assert same_weights(left.last, right.last)


@pytest.fixture(scope="module")
def whole_run(root, tmp_path_factory):
    """Train for two epochs without interruption, loading batches in the main process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        return run_training(tiny_config(root))


def test_repeated_run_gives_the_same_metrics_and_weights(root, whole_run):
    assert_same_run(run_training(tiny_config(root)), whole_run)


def test_another_seed_gives_another_run(root, whole_run):
    assert untimed(run_training(tiny_config(root, seed=1))) != untimed(whole_run)


def test_result_does_not_depend_on_the_number_of_loader_workers(root, whole_run):
    assert_same_run(run_training(tiny_config(root, data={"workers": 2})), whole_run)


@pytest.mark.parametrize("workers", [0, 1])
def test_one_epoch_and_one_resumed_epoch_equal_two_epochs(root, whole_run, workers):
    first = run_training(tiny_config(root, train={"epochs": 1}, data={"workers": workers}))
    assert [epoch["epoch"] for epoch in first.read_history()] == [1]
    config = resumed_config(str(first.last), ["train.epochs=2"])
    second = run_training(config, resume=str(first.last))
    assert second.path == first.path
    assert_same_run(second, whole_run)
    assert same_weights(second.best, whole_run.best)


def test_run_killed_within_an_epoch_resumes_to_the_same_result(root, whole_run, tmp_path):
    config = write_tiny_config(tmp_path, extract_path=str(root))
    command = [sys.executable, "-c", KILLED_IN_EPOCH_2, "--config", str(config)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    (path,) = (tmp_path / "runs").iterdir()
    assert load_checkpoint(path / "last.pth").epoch == 1
    assert not [name for name in path.iterdir() if name.name.startswith(".writing-")]
    # A kill may truncate the last line.
    with open(path / "history.jsonl", "a") as stream:
        stream.write('{"epoch": 2, "train_lo')
    resumed = run_training(resumed_config(str(path / "last.pth"), []), resume=str(path / "last.pth"))
    assert_same_run(resumed, whole_run)


def test_resuming_a_finished_run_changes_nothing(root, whole_run):
    weights = load_checkpoint(whole_run.last).weights
    history = untimed(whole_run)
    again = run_training(resumed_config(str(whole_run.last), []), resume=str(whole_run.last))
    assert untimed(again) == history
    assert all(torch.equal(load_checkpoint(again.last).weights[key], weights[key]) for key in weights)


def test_best_pth_cannot_be_resumed_and_the_model_cannot_change(whole_run):
    with pytest.raises(UsageError, match=r"no training state.*last\.pth"):
        run_training(resumed_config(str(whole_run.best), []), resume=str(whole_run.best))
    config = resumed_config(str(whole_run.last), ["model.alpha=3"])
    with pytest.raises(UsageError, match=r"cannot change model\.alpha"):
        run_training(config, resume=str(whole_run.last))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_loss_stops_before_the_step_and_names_the_clips(root, monkeypatch, bad):
    weights = {}

    def poisoned(model, batch, class_weights, loss_of=engine.train.batch_loss):
        loss, logit = loss_of(model, batch, class_weights)
        if 7 not in batch.index:
            return loss, logit
        weights["before"] = [value.detach().clone() for value in model.parameters()]
        weights["model"] = model
        return loss * bad, logit

    monkeypatch.setattr(engine.train, "batch_loss", poisoned)
    with pytest.raises(WorkError, match=r"epoch 1/2.*(nan|inf).*t007\.mp4") as caught:
        run_training(tiny_config(root, output_dir=str(root / "diverged")))
    assert str(caught.value).count(".mp4") == 4
    after = list(weights["model"].parameters())
    assert all(torch.equal(left, right) for left, right in zip(weights["before"], after, strict=True))


def test_diverged_model_is_reported_with_a_validation_clip(root, monkeypatch):
    def diverge(learner, *more, epoch=engine.train.train_epoch):
        record = epoch(learner, *more)
        with torch.no_grad():
            for weights in learner.model.parameters():
                weights.fill_(float("nan"))
        return record

    monkeypatch.setattr(engine.train, "train_epoch", diverge)
    with pytest.raises(WorkError, match=r"diverged.*v000\.mp4"):
        run_training(tiny_config(root))


def test_last_batch_of_one_clip_is_used(tmp_path):
    root = write_root(tmp_path)
    write_split(root, "trainset", made_clips(5))
    (epoch,) = run_training(tiny_config(root, train={"epochs": 1})).read_history()
    assert epoch["n_train"] == 5


def test_learning_rate_decays_in_steps(tmp_path):
    root = write_root(tmp_path, train=4, val=2)
    train = {"epochs": 3, "lr": 0.01, "step_epochs": 2, "gamma": 0.5}
    folder = run_training(tiny_config(root, train=train, model=tiny_model("mel_baseline")))
    assert [epoch["lr"] for epoch in folder.read_history()] == pytest.approx([0.01, 0.01, 0.005])


def test_training_reduces_the_loss_and_separates_the_classes(tmp_path):
    root = write_root(tmp_path, train=24, val=12)
    folder = run_training(tiny_config(root, train={"epochs": 6, "lr": 0.003}))
    history = folder.read_history()
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert max(epoch["val_auc"] for epoch in history) > 0.9


def test_first_of_equally_good_epochs_is_selected():
    state = TrainingState()
    assert state.finish_epoch(1, 0.8) and not state.finish_epoch(2, 0.8) and state.finish_epoch(3, 0.9)
    assert (state.best_epoch, state.best_auc, state.next_epoch) == (3, 0.9, 4)
