"""The training loop: read it from top to bottom."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from dataset.augment import Augment
from dataset.batch import Batch
from dataset.clips import ClipDataset, ClipTable, EpochSampler, make_loader
from engine.checkpoint import Checkpoint
from engine.config import RunConfig, TrainConfig
from engine.device import seed_everything
from engine.evaluate import predict_split
from engine.run_folder import RunFolder
from engine.scoring import NON_FINITE
from models import MODELS
from models.base import Detector
from utils.errors import UsageError, WorkError
from utils.features.config import FeatureConfig
from utils.metrics import Calibration, roc_auc

log = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """What goes on from epoch to epoch beside the weights.

    Attributes:
        next_epoch: the epoch to train next, from 1.
        best_auc: best validation AUC so far.
        best_epoch: the epoch that reached it first.
    """

    next_epoch: int = 1
    best_auc: float = -1.0
    best_epoch: int = 0

    def finish_epoch(self, epoch: int, auc: float) -> bool:
        """Count an epoch as done; returns whether it is the best so far."""
        is_best = auc > self.best_auc
        if is_best:
            self.best_auc, self.best_epoch = auc, epoch
        self.next_epoch = epoch + 1
        return is_best


class Learner:
    """A model with its optimiser, schedule and state: all that training changes, and that a resumed run needs back."""

    def __init__(self, model: Detector, config: TrainConfig, resumed: dict[str, Any] | None = None) -> None:
        """Start with the model's weights, or go on from what `snapshot` returned."""
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, config.step_epochs, config.gamma)
        self.state = TrainingState()
        if resumed is not None:
            self.optimizer.load_state_dict(resumed["optimizer"])
            self.schedule.load_state_dict(resumed["schedule"])
            self.state = TrainingState(**resumed["state"])

    def snapshot(self) -> dict[str, Any]:
        """Everything but the weights, as tensors and plain types."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "state": vars(self.state).copy(),
        }


@dataclass
class Running:
    """Running averages over the clips of an epoch."""

    n: int = 0
    n_seen: int = 0
    sums: dict[str, float] = field(default_factory=lambda: {"loss": 0.0, "acc": 0.0})

    def add(self, n_seen: int, n: int, **means: float) -> None:
        """Count a batch of `n_seen` clips, of which `n` were usable, with the means over those."""
        self.n_seen += n_seen
        self.n += n
        for name, mean in means.items():
            self.sums[name] += mean * n

    def mean(self, name: str) -> float:
        """The average so far; 0 before the first clip."""
        return self.sums[name] / max(self.n, 1)


def train(
    model: Detector,
    train_clips: ClipTable,
    val_clips: ClipTable,
    config: RunConfig,
    folder: RunFolder,
    *,
    device: torch.device,
    identity: Checkpoint,
    resumed: dict[str, Any] | None = None,
) -> TrainingState:
    """Train a model and keep the epoch with the best validation AUC.

    Every epoch ends with `last.pth`, and with `best.pth` when it is the best so far; each starts from a seed of its own, so
    that a resumed run repeats what an uninterrupted one would have done.

    Args:
        model: on `device`, in its initial or resumed state.
        train_clips: every row has a target.
        val_clips: every row has a target; selection is by AUC on them.
        config: optimiser, schedule, augmentation.
        folder: gets checkpoints, history and TensorBoard events.
        device: where to compute.
        identity: everything of the checkpoints to be written but weights, epoch and metrics.
        resumed: the `training` part of the checkpoint to go on from.

    Raises:
        WorkError: a loss that is not finite (its clips are named), no usable training clip, no validation AUC.
    """
    loader, begin_epoch = training_batches(train_clips, config, identity.features, device)
    learner = Learner(model, config.train, resumed)
    first, epochs = learner.state.next_epoch, config.train.epochs
    folder.read_history(before_epoch=first)
    with SummaryWriter(str(folder.path / "tensorboard"), purge_step=first) as events:
        for epoch in range(first, epochs + 1):
            started = time.perf_counter()
            seed_everything(config.seed, epoch)
            begin_epoch(epoch)
            record: dict[str, Any] = {"epoch": epoch, "lr": learner.schedule.get_last_lr()[0]}
            record |= train_epoch(learner, loader, train_clips.names, f"epoch {epoch}/{epochs}", device)
            learner.schedule.step()
            record |= validate(model, val_clips, config, identity, device)
            record["seconds"] = round(time.perf_counter() - started, 3)
            is_best = learner.state.finish_epoch(epoch, record["val_auc"])
            for name in record.keys() - {"epoch"}:
                events.add_scalar(name, record[name], epoch)
            # The history goes first: a run killed between the two redoes the epoch and writes its line anew.
            folder.append_history(record)
            keep(folder, identity, learner, record, is_best=is_best)
            log_epoch(record, epochs, is_best=is_best)
    return learner.state


def need_both_classes(*tables: ClipTable) -> None:
    """Refuse splits that training and selection by AUC cannot work with.

    Raises:
        UsageError: a split holds one class only.
    """
    for clips in tables:
        if clips.labels["target"].nunique() < 2:
            raise UsageError(
                f"{clips.split.name} holds one class only: training and selection by AUC need real and fake clips"
            )


def need_gradients(config: RunConfig) -> None:
    """Refuse a detector that gradient steps cannot train.

    Raises:
        UsageError: names the command that fits it.
    """
    name = config.model["name"]
    if command := MODELS.get(name).built_class.fitted_by:
        raise UsageError(f"{name} is not trained by gradient steps: fit it with `python {command}`")


def training_batches(
    clips: ClipTable, config: RunConfig, features: FeatureConfig, device: torch.device
) -> tuple[DataLoader, Callable[[int], None]]:
    """A loader of augmented batches, and the function that chooses the epoch whose order and augmentation come next."""
    dataset = ClipDataset(clips, features, augment=Augment(config.train.augment), seed=config.seed)
    targets = clips.labels["target"].to_numpy()
    sampler = EpochSampler(targets, balance=config.train.balance_classes, seed=config.seed)
    loader = make_loader(
        dataset,
        batch_size=config.train.batch_size,
        workers=config.data.workers,
        pin_memory=device.type == "cuda",
        sampler=sampler,
    )

    def begin_epoch(epoch: int) -> None:
        dataset.set_epoch(epoch)
        sampler.set_epoch(epoch)

    return loader, begin_epoch


def train_epoch(
    learner: Learner, loader: DataLoader, names: list[str], title: str, device: torch.device
) -> dict[str, float]:
    """One pass over the training clips; returns loss, accuracy, counts and speed."""
    started = time.perf_counter()
    model = learner.model.train()
    running = Running()
    progress = tqdm(loader, desc=title, unit="batch", leave=False, dynamic_ncols=True, mininterval=0.5)
    for everything, _ in progress:
        everything = everything.to(device)
        batch = everything.select(model.usable(everything))
        if len(batch) == 0:
            running.add(len(everything), 0)
            continue
        loss, logit = batch_loss(model, batch)
        if not torch.isfinite(loss):
            clips = ", ".join(names[index] for index in batch.index.tolist())
            raise WorkError(f"{title}: the loss is {loss.item()} on these clips, so the step was not made: {clips}")
        learner.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        learner.optimizer.step()
        correct = ((logit > 0) == (batch.target > 0.5)).float().mean().item()
        running.add(len(everything), len(batch), loss=loss.item(), acc=correct)
        progress.set_postfix(loss=f"{running.mean('loss'):.4f}", acc=f"{running.mean('acc'):.3f}")
    if running.n == 0:
        raise WorkError("not one training clip has the modalities that the model needs")
    return {
        "train_loss": running.mean("loss"),
        "train_accuracy": running.mean("acc"),
        "n_train": running.n,
        "n_train_unusable": running.n_seen - running.n,
        "train_clips_per_s": round(running.n_seen / (time.perf_counter() - started), 2),
    }


def batch_loss(model: Detector, batch: Batch) -> tuple[Tensor, Tensor]:
    """Cross-entropy over two classes, written with their logit difference; returns the loss and the (B,) logits."""
    logit = model(batch).logit
    return F.binary_cross_entropy_with_logits(logit, batch.target), logit


def validate(
    model: Detector, clips: ClipTable, config: RunConfig, identity: Checkpoint, device: torch.device
) -> dict[str, float]:
    """Validation loss, AUC and coverage, by the same function that scores everywhere else.

    Raises:
        WorkError: a logit is not finite, or there is no AUC to select by.
    """
    table = predict_split(model, clips, identity.features, config, device=device, calibration=Calibration())
    diverged = table.loc[table["reason"].str.contains(NON_FINITE), "video_name"]
    if len(diverged):
        raise WorkError(f"the model has diverged: its logit for the validation clip {diverged.iloc[0]} is not finite")
    known = table.dropna(subset="logit")
    target, logit = known["target"].to_numpy(), known["logit"].to_numpy()
    auc = roc_auc(target, logit)
    if auc.value is None:
        raise WorkError(f"no validation AUC to select by: {len(known)} of {len(table)} clips scored, {auc.reason}")
    # log(1 + exp(z)) - t z is the cross-entropy of a logit z, safe for large z.
    loss = float(np.mean(np.logaddexp(0.0, logit) - target * logit))
    return {"val_loss": loss, "val_auc": auc.value, "val_coverage": len(known) / len(table)}


def keep(folder: RunFolder, identity: Checkpoint, learner: Learner, record: dict[str, Any], *, is_best: bool) -> None:
    """Write the epoch's checkpoints."""
    checkpoint = Checkpoint(
        model=identity.model,
        features=identity.features,
        weights=learner.model.state_dict(),
        run_config=identity.run_config,
        epoch=record["epoch"],
        metrics={"valset": {"auc": record["val_auc"], "coverage": record["val_coverage"]}},
        provenance=identity.provenance,
    )
    if is_best:
        checkpoint.save(folder.best)
    checkpoint.training = learner.snapshot()
    checkpoint.save(folder.last)


def log_epoch(record: dict[str, Any], epochs: int, *, is_best: bool) -> None:
    """One line per epoch."""
    unusable = f", {record['n_train_unusable']} clips unusable" if record["n_train_unusable"] else ""
    log.info(
        "epoch %d/%d: train loss %.4f, accuracy %.3f%s; val AUC %.4f, coverage %.3f%s (%.1f s)",
        record["epoch"], epochs, record["train_loss"], record["train_accuracy"], unusable,
        record["val_auc"], record["val_coverage"], " *" if is_best else "", record["seconds"],
    )  # fmt: skip
