"""The training loop: read it from top to bottom."""

from __future__ import annotations

import logging
import time
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
from engine.config import RunConfig
from engine.device import seed_everything
from engine.evaluate import predict_split
from engine.run_folder import RunFolder
from models.base import Detector
from utils.errors import UsageError, WorkError
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
        UsageError: a split holds one class only.
        WorkError: a loss that is not finite (its clips are named), or no usable clip.
    """
    for name, clips in (("trainset", train_clips), ("valset", val_clips)):
        if clips.labels["target"].nunique() < 2:
            raise UsageError(f"{name} holds one class only: training and selection by AUC need real and fake clips")
    dataset = ClipDataset(train_clips, identity.features, augment=Augment(config.train.augment), seed=config.seed)
    sampler = EpochSampler(
        train_clips.labels["target"].to_numpy(), balance=config.train.balance_classes, seed=config.seed
    )
    loader = make_loader(
        dataset,
        batch_size=config.train.batch_size,
        workers=config.data.workers,
        pin_memory=device.type == "cuda",
        sampler=sampler,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config.train.lr)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, config.train.step_epochs, config.train.gamma)
    state = TrainingState()
    if resumed is not None:
        optimizer.load_state_dict(resumed["optimizer"])
        schedule.load_state_dict(resumed["schedule"])
        state = TrainingState(**resumed["state"])
    folder.read_history(before_epoch=state.next_epoch)

    with SummaryWriter(folder.path / "tensorboard", purge_step=state.next_epoch) as events:
        for epoch in range(state.next_epoch, config.train.epochs + 1):
            started = time.perf_counter()
            seed_everything(config.seed, epoch)
            dataset.set_epoch(epoch)
            sampler.set_epoch(epoch)
            lr = schedule.get_last_lr()[0]
            running = train_epoch(model, loader, optimizer, train_clips.names, epoch, config.train.epochs, device)
            schedule.step()
            trained_s = time.perf_counter() - started
            figures = validate(model, val_clips, config, identity, device)
            record = {
                "epoch": epoch,
                "train_loss": running.mean("loss"),
                "train_accuracy": running.mean("acc"),
                **figures,
                "lr": lr,
                "n_train": running.n,
                "n_train_unusable": running.n_seen - running.n,
                "seconds": round(time.perf_counter() - started, 3),
                "train_clips_per_s": round(running.n_seen / trained_s, 2),
            }
            for name, value in record.items():
                if value is not None and name != "epoch":
                    events.add_scalar(name, value, epoch)
            is_best = figures["val_auc"] is not None and figures["val_auc"] > state.best_auc
            if is_best:
                state.best_auc, state.best_epoch = figures["val_auc"], epoch
            state.next_epoch = epoch + 1
            keep(folder, identity, model, epoch, record, state, optimizer, schedule, is_best=is_best)
            folder.append_history(record)
            log_epoch(record, config.train.epochs, is_best=is_best)
    if state.best_epoch == 0:
        raise WorkError("no epoch gave a validation AUC: the validation clips that could be scored hold one class only")
    return state


def train_epoch(
    model: Detector,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    names: list[str],
    epoch: int,
    epochs: int,
    device: torch.device,
) -> Running:
    """One pass over the training clips; returns the running averages."""
    model.train()
    running = Running()
    progress = tqdm(
        loader, desc=f"epoch {epoch}/{epochs}", unit="batch", leave=False, dynamic_ncols=True, mininterval=0.5
    )
    for everything, _ in progress:
        everything = everything.to(device)
        batch = everything.select(model.usable(everything))
        if len(batch) == 0:
            running.add(len(everything), 0)
            continue
        loss, logit = batch_loss(model, batch)
        if not torch.isfinite(loss):
            clips = ", ".join(names[index] for index in batch.index.tolist())
            raise WorkError(
                f"epoch {epoch}: the loss is {loss.item()} on these clips, so the step was not made: {clips}"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        correct = ((logit > 0) == (batch.target > 0.5)).float().mean().item()
        running.add(len(everything), len(batch), loss=loss.item(), acc=correct)
        progress.set_postfix(loss=f"{running.mean('loss'):.4f}", acc=f"{running.mean('acc'):.3f}")
    if running.n == 0:
        raise WorkError("not one training clip has the modalities that the model needs")
    return running


def batch_loss(model: Detector, batch: Batch) -> tuple[Tensor, Tensor]:
    """Cross-entropy over two classes, written with their logit difference; returns the loss and the (B,) logits."""
    logit = model(batch).logit
    return F.binary_cross_entropy_with_logits(logit, batch.target), logit


def validate(
    model: Detector, clips: ClipTable, config: RunConfig, identity: Checkpoint, device: torch.device
) -> dict[str, float | None]:
    """Validation loss, AUC and coverage, by the same function that scores everywhere else."""
    scored = predict_split(model, clips, identity.features, config, device=device, calibration=Calibration())
    known = scored.dropna(subset="logit")
    target, logit = known["target"].to_numpy(), known["logit"].to_numpy()
    if len(known) == 0:
        return {"val_loss": None, "val_auc": None, "val_coverage": 0.0}
    # log(1 + exp(z)) - t z is the cross-entropy of a logit z, safe for large z.
    loss = float(np.mean(np.logaddexp(0.0, logit) - target * logit))
    if not np.isfinite(loss):
        clip = known["video_name"].to_numpy()[~np.isfinite(logit)][0]
        raise WorkError(f"the model's logit for the validation clip {clip} is not finite")
    return {"val_loss": loss, "val_auc": roc_auc(target, logit).value, "val_coverage": len(known) / len(scored)}


def keep(
    folder: RunFolder,
    identity: Checkpoint,
    model: Detector,
    epoch: int,
    record: dict[str, Any],
    state: TrainingState,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    *,
    is_best: bool,
) -> None:
    """Write the epoch's checkpoints."""
    checkpoint = Checkpoint(
        model=identity.model,
        features=identity.features,
        weights=model.state_dict(),
        run_config=identity.run_config,
        epoch=epoch,
        metrics={"valset": {"auc": record["val_auc"], "coverage": record["val_coverage"]}},
        provenance=identity.provenance,
    )
    if is_best:
        checkpoint.save(folder.best)
    checkpoint.training = {
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "state": vars(state).copy(),
    }
    checkpoint.save(folder.last)


def log_epoch(record: dict[str, Any], epochs: int, *, is_best: bool) -> None:
    """One line per epoch."""
    auc = "n/a" if record["val_auc"] is None else f"{record['val_auc']:.4f}"
    unusable = f", {record['n_train_unusable']} clips unusable" if record["n_train_unusable"] else ""
    log.info(
        "epoch %d/%d: train loss %.4f, accuracy %.3f%s; val AUC %s, coverage %.3f%s (%.1f s)",
        record["epoch"], epochs, record["train_loss"], record["train_accuracy"], unusable,
        auc, record["val_coverage"], " *" if is_best else "", record["seconds"],
    )  # fmt: skip
