"""Training by gradient descent, in reading order: `fit` calls `train`, which calls `train_epoch` and `validate`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from dataset.augment import Augment
from dataset.batch import Batch
from dataset.clips import ClipDataset, ClipTable, EpochSampler, make_loader
from dataset.samples import InputLayout
from engine.checkpoint import Checkpoint, load_checkpoint
from engine.config import RunConfig
from engine.device import seed_everything
from engine.evaluate import SplitResult, calibrate, predict_split, rescore, split_result
from engine.event_log import EventLog
from engine.learner import EpochMeans, Learner, TrainingState
from engine.provenance import describe_run
from engine.resume import ResumedRun
from engine.run_folder import RunFolder
from engine.scoring import NON_FINITE
from engine.training_clips import training_hashes
from models.base import DetectorModel
from utils.errors import WorkError
from utils.metrics import Calibration, roc_auc
from utils.metrics.threshold_text import describe_thresholds

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingClips:
    """The clips to train on and the clips to select the epoch on; every row has a target."""

    train: ClipTable
    val: ClipTable


@dataclass(frozen=True)
class FittedModel:
    """Result of training.

    Attributes:
        model: the best epoch's model.
        checkpoint: its checkpoint, saved as the folder's `best.pth`.
        validated: its result on the validation clips.
    """

    model: DetectorModel
    checkpoint: Checkpoint
    validated: SplitResult


def fit(
    model: DetectorModel,
    clips: TrainingClips,
    config: RunConfig,
    folder: RunFolder,
    *,
    device: torch.device,
    resumed: ResumedRun | None = None,
) -> FittedModel:
    """Train a model, calibrate its best epoch on the validation clips and save it as `best.pth`."""
    identity = Checkpoint(
        model=config.model,
        features=config.features,
        weights={},
        run_config=config.model_dump(mode="json"),
        provenance=describe_run(config.seed, model, {"trainset": clips.train, "valset": clips.val}),
        trained_on=training_hashes(clips.train),
    )
    state = train(model.to(device), clips, config, folder, device=device, identity=identity, resumed=resumed)
    log.info("best epoch %d: validation AUC %.4f", state.best_epoch, state.best_auc)
    best = load_checkpoint(folder.best)
    model = best.build().to(device)
    uncalibrated = predict_split(model, clips.val, config.features, config, device=device, calibration=Calibration())
    best.calibration = calibrate(uncalibrated, config)
    log.info("thresholds: %s", " ".join(describe_thresholds(best.calibration).split()))
    validated = split_result(rescore(uncalibrated, best.calibration), clips.val, best, config)
    best.metrics = {"valset": validated.metrics}
    best.save(folder.best)
    return FittedModel(model, best, validated)


def train(
    model: DetectorModel,
    clips: TrainingClips,
    config: RunConfig,
    folder: RunFolder,
    *,
    device: torch.device,
    identity: Checkpoint,
    resumed: ResumedRun | None = None,
) -> TrainingState:
    """Train a model. `best.pth` is the epoch with the best validation AUC, `last.pth` the last epoch.

    Each epoch has its own random seed, so a resumed run gives the same result as an uninterrupted one.

    Args:
        model: on `device`, with its initial or resumed weights.
        clips: training and validation clips.
        config: optimiser, schedule, augmentation.
        folder: receives checkpoints, history and TensorBoard events.
        device: the device to train on.
        identity: template of the checkpoints, without weights, epoch and metrics.
        resumed: the state to continue from. Changed settings are recorded with the next epoch.

    Raises:
        WorkError: a loss is not finite (its clips are named), no training clip is usable, or there is no validation AUC.
        WriteError: a file cannot be written; earlier checkpoints stay intact.
    """
    loader, begin_epoch = training_batches(clips.train, config, model.inputs, device)
    learner = Learner(model, resumed)
    first, epochs = learner.state.next_epoch, config.train.epochs
    changes = resumed.changes if resumed is not None else {}
    folder.truncate_history(before_epoch=first)
    with EventLog(folder.path / "tensorboard", first_step=first) as events:
        for epoch in range(first, epochs + 1):
            started = time.perf_counter()
            seed_everything(config.seed, epoch)
            begin_epoch(epoch)
            rate = config.train.learning_rate(epoch)
            learner.set_learning_rate(rate)
            record: dict[str, Any] = {"epoch": epoch, "lr": rate}
            record |= train_epoch(learner, loader, clips.train.names, f"epoch {epoch}/{epochs}", device)
            record |= validate(model, clips.val, config, device)
            record["seconds"] = round(time.perf_counter() - started, 3)
            is_best = learner.state.finish_epoch(epoch, record["val_auc"])
            events.add_scalars({name: value for name, value in record.items() if name != "epoch"}, epoch)
            if epoch == first and changes:
                record["changed"] = changes
            # The history is written first: if the run is killed before the checkpoint, it repeats the epoch and its line.
            folder.append_history(record)
            save_epoch(folder, identity, learner, record, is_best=is_best)
            log_epoch(record, epochs, is_best=is_best)
    return learner.state


def training_batches(
    clips: ClipTable, config: RunConfig, inputs: Collection[str], device: torch.device
) -> tuple[DataLoader, Callable[[int], None]]:
    """Return a loader of augmented batches, and a function that sets the epoch that determines order and augmentation."""
    layout = InputLayout(config.features, inputs)
    dataset = ClipDataset(clips, layout, augment=Augment(config.train.augment), seed=config.seed)
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
    """Train on every clip once and return loss, accuracy, counts and speed.

    Raises:
        WorkError: a loss is not finite (the weights are not updated), or no clip is usable.
    """
    started = time.perf_counter()
    model = learner.model.train()
    means = EpochMeans()
    progress = tqdm(loader, desc=title, unit="batch", leave=False, dynamic_ncols=True, mininterval=0.5)
    for whole_batch, _ in progress:
        whole_batch = whole_batch.to(device)
        batch = whole_batch.select(model.usable(whole_batch))
        if len(batch) == 0:
            means.add(len(whole_batch), 0)
            continue
        loss, logit = batch_loss(model, batch)
        if not torch.isfinite(loss):
            clips = ", ".join(names[index] for index in batch.index.tolist())
            raise WorkError(
                f"{title}: the loss is {loss.item()}, so the weights were not updated; clips of the batch: {clips}"
            )
        learner.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        learner.optimizer.step()
        correct = ((logit > 0) == (batch.target > 0.5)).float().mean().item()
        means.add(len(whole_batch), len(batch), loss=loss.item(), acc=correct)
        progress.set_postfix(loss=f"{means.mean('loss'):.4f}", acc=f"{means.mean('acc'):.3f}")
    if means.n == 0:
        raise WorkError("no training clip has the modalities that the model needs")
    return {
        "train_loss": means.mean("loss"),
        "train_accuracy": means.mean("acc"),
        "n_train": means.n,
        "n_train_unusable": means.n_seen - means.n,
        "train_clips_per_s": round(means.n_seen / (time.perf_counter() - started), 2),
    }


def batch_loss(model: DetectorModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the binary cross-entropy of a batch and its logits, (B,)."""
    logit = model(batch).logit
    return F.binary_cross_entropy_with_logits(logit, batch.target), logit


def validate(model: DetectorModel, clips: ClipTable, config: RunConfig, device: torch.device) -> dict[str, float]:
    """Return validation loss, AUC and coverage, computed with the same scoring function as evaluation.

    Raises:
        WorkError: a logit is not finite, or there is no AUC to select by.
    """
    table = predict_split(model, clips, config.features, config, device=device, calibration=Calibration())
    diverged = table.loc[table["reason"].str.contains(NON_FINITE), "video_name"]
    if len(diverged):
        raise WorkError(f"the model has diverged: its logit for the validation clip {diverged.iloc[0]} is not finite")
    known = table.dropna(subset="logit")
    target, logit = known["target"].to_numpy(), known["logit"].to_numpy()
    auc = roc_auc(target, logit)
    if auc.value is None:
        raise WorkError(f"no validation AUC to select by: {len(known)} of {len(table)} clips scored, {auc.reason}")
    # log(1 + exp(z)) - t z is the cross-entropy of a logit z, stable for large z.
    loss = float(np.mean(np.logaddexp(0.0, logit) - target * logit))
    return {"val_loss": loss, "val_auc": auc.value, "val_coverage": len(known) / len(table)}


def save_epoch(
    folder: RunFolder, identity: Checkpoint, learner: Learner, record: dict[str, Any], *, is_best: bool
) -> None:
    """Write the epoch's checkpoints."""
    checkpoint = replace(
        identity,
        weights=learner.model.state_dict(),
        epoch=record["epoch"],
        metrics={"valset": {"auc": record["val_auc"], "coverage": record["val_coverage"]}},
    )
    if is_best:
        checkpoint.save(folder.best)
    checkpoint.training = learner.snapshot()
    checkpoint.save(folder.last)


def log_epoch(record: dict[str, Any], epochs: int, *, is_best: bool) -> None:
    """Log an epoch in one line; a star marks the best so far."""
    unusable = f", {record['n_train_unusable']} clips unusable" if record["n_train_unusable"] else ""
    log.info(
        "epoch %d/%d: train loss %.4f, accuracy %.3f%s; val AUC %.4f, coverage %.3f%s (%.1f s)",
        record["epoch"], epochs, record["train_loss"], record["train_accuracy"], unusable,
        record["val_auc"], record["val_coverage"], " *" if is_best else "", record["seconds"],
    )  # fmt: skip
