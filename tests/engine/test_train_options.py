"""Options of the training loop: schedules, precision, accumulation, averaging, early stopping and weights."""

from __future__ import annotations

import shutil

import pytest
import torch

from engine.checkpoint import load_checkpoint
from engine.config import check_run_config
from engine.device import seed_everything
from engine.learner import Learner
from engine.run import open_run_clips, run_training
from engine.train import batch_loss, train_epoch
from engine.train_config import TrainConfig
from engine.training_batches import class_weights, training_batches
from engine.training_state import TrainingState
from models import build_model
from models.base import DetectorOutput
from tests.support import (
    LABEL_FILES,
    NO_VIDEO,
    MadeClip,
    made_clips,
    random_batch,
    tiny_config,
    tiny_model,
    write_root,
    write_split,
)
from utils.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN = {"name": "ffdv_cov", "pretrained": False, "audio_branch": False}
"""A model without batch normalisation and without random decisions."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("options"), signal=0.03)


def trained(root, *, model=PLAIN, epochs=2, **train):
    """Train without validation and return the learner and the loss of each epoch."""
    config = tiny_config(root, train={"epochs": epochs, **train}, model=model)
    clips = open_run_clips(config).training.train
    seed_everything(config.seed)
    model = build_model(config.model, config.features)
    loader, begin_epoch = training_batches(clips, config, model.inputs, torch.device("cpu"))
    learner = Learner(model, config.train, class_weights=class_weights(clips, config.train))
    losses = []
    for epoch in range(1, epochs + 1):
        seed_everything(config.seed, epoch)
        begin_epoch(epoch)
        losses.append(train_epoch(learner, loader, clips.names, epoch)["train_loss"])
    return learner, losses


def largest_difference(left, right):
    left, right = left.model.state_dict(), right.model.state_dict()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


class TestSchedule:
    """Learning rates, a function of epoch and step only."""

    def test_steps_decay_by_epoch(self):
        settings = TrainConfig(lr=0.01, step_epochs=2, gamma=0.5)
        rates = [settings.learning_rate(epoch, step, 10) for epoch in (1, 2, 3) for step in (0, 9)]
        assert rates == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.005, 0.005])

    def test_warm_up_rises_linearly_within_and_over_epochs(self):
        settings = TrainConfig(lr=1.0, schedule="constant", warmup_epochs=1.5)
        rates = [settings.learning_rate(epoch, step, 2) for epoch in (1, 2) for step in (0, 1)]
        assert rates == pytest.approx([1 / 3, 2 / 3, 1, 1])

    def test_cosine_falls_to_the_minimum_after_the_warm_up(self):
        settings = TrainConfig(lr=1.0, schedule="cosine", epochs=5, warmup_epochs=1, min_lr=0.1)
        rates = [settings.learning_rate(epoch, step, 100) for epoch in range(1, 6) for step in range(100)]
        assert rates.index(max(rates)) in (99, 100) and max(rates) == pytest.approx(1)
        assert rates[300] == pytest.approx(0.55)
        assert rates[100:] == sorted(rates[100:], reverse=True) and rates[-1] == pytest.approx(0.1, abs=1e-3)

    @pytest.mark.parametrize(
        ("override", "words"),
        [
            ("train.warmup_epochs=2", r"train\.warmup_epochs.*does not end before train\.epochs=2"),
            ("train.min_lr=1", r"train\.min_lr.*above train\.lr"),
            ("train.amp=fp8", r"train\.amp.*'none', 'bf16' or 'fp16'"),
            ("train.ema=1", r"train\.ema.*less than 1"),
            ("train.class_weights.fake=0", r"train\.class_weights\.fake.*greater than 0"),
            ("train.clip_nrom=1", r"train\.clip_nrom: unknown key; did you mean 'clip_norm'"),
        ],
    )
    def test_impossible_values_are_rejected_with_the_key(self, override, words):
        with pytest.raises(UsageError, match=words):
            check_run_config({"train": {"epochs": 2}}, [override], where="test")


def test_accumulated_batches_equal_one_large_batch(tmp_path):
    root = write_root(tmp_path, train=4, val=4)
    # The share of usable clips differs between the batches; every clip has the same weight in the loss nevertheless.
    broken = [MadeClip(f"n{index}.mp4", 1, NO_VIDEO) for index in range(5)]
    write_split(root, "trainset", [*made_clips(11), *broken])
    large, losses = trained(root, batch_size=8)
    small, same_losses = trained(root, batch_size=2, accumulate=4)
    assert same_losses == pytest.approx(losses, abs=1e-5)
    assert largest_difference(large, small) < 1e-4


def test_the_gradient_is_clipped_to_the_norm(root, monkeypatch):
    norms = []

    def step(optimizer, *_):
        norms.append(
            float(sum(p.grad.square().sum() for group in optimizer.param_groups for p in group["params"]) ** 0.5)
        )

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    trained(root, epochs=1)
    free = norms.copy()
    norms.clear()
    trained(root, epochs=1, clip_norm=0.01, amp="fp16")
    assert min(free) > 0.02 and norms
    assert max(norms) == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_trains_close_to_full_precision(root, amp):
    learner, losses = trained(root, amp=amp, lr=1e-6)
    assert losses == pytest.approx(trained(root, lr=1e-6)[1], abs=0.02)
    assert bool(learner.snapshot().get("scaler")) is (amp == "fp16")
    assert all(weights.dtype == torch.float32 for weights in learner.model.parameters())


def test_channels_last_does_not_change_the_result_beyond_rounding(root):
    learner, losses = trained(root, model=tiny_model(), epochs=1, channels_last=True)
    assert losses == pytest.approx(trained(root, model=tiny_model(), epochs=1)[1], abs=1e-3)
    kernels = [weights for weights in learner.model.parameters() if weights.ndim == 4 and min(weights.shape[1:]) > 1]
    assert kernels and all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_frozen_batch_normalisation_keeps_its_statistics(root):
    weights = trained(root, model=tiny_model(), epochs=1, freeze_batch_norm=True)[0].model.state_dict()
    statistics = [value for name, value in weights.items() if "running_mean" in name]
    assert statistics and not any(value.any() for value in statistics)


def test_averaged_weights_are_evaluated_and_the_others_trained(root):
    plain, losses = trained(root)
    averaged, same_losses = trained(root, ema=0.9)
    assert losses == same_losses
    assert largest_difference(plain, averaged) == 0
    assert averaged.evaluated is not averaged.model and plain.evaluated is plain.model
    head = averaged.evaluated.head.weight
    assert not torch.equal(head, averaged.model.head.weight)


def test_early_stopping_and_resuming_with_more_patience(root):
    def run(train, resume=None):
        config = tiny_config(root, train={"lr": 1e-9, "epochs": 6, **train}, model=PLAIN, eval={"bootstrap": 100})
        return run_training(config, resume=resume)

    stopped = run({"patience": 1})
    assert len(stopped.read_history()) == 2
    assert "stopped after epoch 2" in (stopped.path / "run.log").read_text()
    with pytest.raises(UsageError, match=r"train\.lr: .*stopped early after epoch 2.*no effect"):
        run({"patience": 1, "lr": 1}, resume=str(stopped.last))
    assert len(run({"patience": 3}, resume=str(stopped.last)).read_history()) == 4


def test_interrupted_run_with_all_options_resumes_to_the_same_weights(root, monkeypatch):
    options = {
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "ema": 0.8,
        "amp": "fp16",
        "accumulate": 2,
        "clip_norm": 1.0,
        "balance_classes": True,
        "class_weights": {"fake": 3.0},
    }
    config = tiny_config(root, train={"epochs": 3, **options}, model=PLAIN)
    whole = run_training(config)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "is_finished", lambda state, _: state.next_epoch > 2)
        part = run_training(config)
    assert len(part.read_history()) == 2
    resumed = run_training(config, resume=str(part.last))
    left, right = load_checkpoint(resumed.last), load_checkpoint(whole.last)
    for key in ("scaler", "averaged_steps", "state"):
        assert left.training[key] == right.training[key]
    assert all(torch.equal(left.weights[name], right.weights[name]) for name in right.weights)
    assert any(not torch.equal(right.weights[name], right.training["weights"][name]) for name in right.weights)


def test_class_weights_scale_the_loss_of_a_class():
    batch = random_batch([True] * 4, [True] * 4)
    logit = torch.tensor([1.0, -1.0, 0.5, 2.0])
    weighted, _ = batch_loss(lambda _: DetectorOutput({"head": logit}), batch, (1.0, 3.0))
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logit, batch.target, reduction="none")
    assert weighted.item() == pytest.approx(float((plain * torch.tensor([1.0, 3, 1, 3])).mean()))


def test_balanced_weights_give_both_classes_the_same_total(tmp_path):
    settings = TrainConfig.model_validate({"class_weights": {"balanced": True}})
    real, fake = settings.class_weights.of_classes(30, 10)
    assert real * 30 == pytest.approx(fake * 10)
    assert settings.class_weights.of_classes(5, 5) is None
    root = write_root(tmp_path, train=4, val=4)
    write_split(root, "trainset", [*made_clips(4), *(MadeClip(f"f{index}.mp4", 1) for index in range(6))])
    scaled = trained(root, class_weights={"real": 5.0, "fake": 5.0})
    assert scaled[1] == trained(root)[1]
    assert trained(root, class_weights={"balanced": True})[1] != scaled[1]


def test_sources_are_balanced_and_need_their_column(root, tmp_path):
    with pytest.raises(UsageError, match=r"train\.balance_sources: .*trainset_label\.txt has no column source"):
        trained(root, balance_sources=True)
    copy = shutil.copytree(root, tmp_path / "root", ignore=shutil.ignore_patterns("runs"))
    rows = [f"t{index:03d}.mp4,{index % 2},{'rare' if index < 2 else 'common'}" for index in range(16)]
    (copy / LABEL_FILES["trainset"]).write_text("\n".join(["video_name,target,source", *rows]) + "\n")
    assert trained(copy, balance_sources=True)[1] != trained(copy)[1]
