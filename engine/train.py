"""Training by gradient descent, in reading order: `fit` calls `train`, which calls `train_epoch` and `validate`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from dataset.batch import Batch
from dataset.clips import ClipTable
from engine.checkpoint import Checkpoint, load_checkpoint
from engine.config import RunConfig
from engine.device import seed_everything
from engine.epoch_writer import EpochWriter
from engine.evaluate import SplitResult, calibrate, predict_split, rescore, split_result
from engine.learner import Learner
from engine.processes import current_processes
from engine.provenance import describe_run
from engine.resume import ResumedRun
from engine.run_folder import RunFolder
from engine.scoring import NON_FINITE
from engine.steps import Batches, EpochSteps
from engine.training_batches import class_weights, training_batches
from engine.training_clips import training_hashes
from engine.training_state import EpochMeans, TrainingState
from models.base import DetectorModel, DetectorOutput
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
    processes = current_processes()
    identity = processes.on_main(lambda: identify(model, clips, config))
    state = train(model.to(device), clips, config, folder, device=device, identity=identity, resumed=resumed)
    log.info("best epoch %d: validation AUC %.4f", state.best_epoch, state.best_auc)
    best = processes.on_main(lambda: load_checkpoint(folder.best))
    model = best.build().to(device)
    uncalibrated = predict_split(model, clips.val, config.features, config, device=device, calibration=Calibration())
    best.calibration = calibrate(uncalibrated, config)
    log.info("thresholds: %s", " ".join(describe_thresholds(best.calibration).split()))
    predictions = rescore(uncalibrated, best.calibration)
    validated = processes.on_main(lambda: split_result(predictions, clips.val, best, config))
    best.metrics = {"valset": validated.metrics}
    folder.save(best, folder.best)
    return FittedModel(model, best, validated)


def identify(model: DetectorModel, clips: TrainingClips, config: RunConfig) -> Checkpoint:
    """Return the template of the run's checkpoints, without weights, epoch and metrics."""
    return Checkpoint(
        model=config.model,
        features=config.features,
        weights={},
        run_config=config.model_dump(mode="json"),
        provenance=describe_run(config.seed, model, {"trainset": clips.train, "valset": clips.val}),
        trained_on=training_hashes(clips.train),
    )


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
    settings = config.train
    loader, begin_epoch = training_batches(clips.train, config, model.inputs, device)
    learner = Learner(model, settings, class_weights=class_weights(clips.train, settings), resumed=resumed)
    changes = resumed.changes if resumed is not None else {}
    with EpochWriter(folder, identity, learner.state.next_epoch, changes) as writer:
        while not learner.state.is_finished(settings):
            epoch, started = learner.state.next_epoch, time.perf_counter()
            seed_everything(config.seed, epoch)
            begin_epoch(epoch)
            record: dict[str, Any] = {"epoch": epoch, "lr": settings.learning_rate(epoch)}
            record |= train_epoch(learner, loader, clips.train.names, epoch)
            record |= validate(learner.evaluated, clips.val, config, device)
            record["seconds"] = round(time.perf_counter() - started, 3)
            is_best = learner.state.finish_epoch(epoch, record["val_auc"])
            writer.write(record, learner, is_best=is_best)
        if learner.state.stops_early(settings):
            log.info(
                "stopped after epoch %d: no better validation AUC since epoch %d",
                learner.state.next_epoch - 1,
                learner.state.best_epoch,
            )
    return learner.state


def train_epoch(learner: Learner, batches: Batches, names: list[str], epoch: int) -> dict[str, float]:
    """Train on every clip once and return loss, accuracy, counts and speed.

    Args:
        learner: the model; it is updated.
        batches: the batches of this process.
        names: names of the training clips, for error messages.
        epoch: the epoch, which determines the learning rate.

    Raises:
        WorkError: a loss is not finite (the weights are not updated), or no clip is usable.
    """
    started, title = time.perf_counter(), f"epoch {epoch}/{learner.settings.epochs}"
    learner.train_mode()
    means = EpochMeans()
    steps = EpochSteps(learner, batches)
    progress = tqdm(steps, desc=title, unit="batch", leave=False, dynamic_ncols=True, mininterval=0.5)
    for number, step in enumerate(progress):
        learner.set_learning_rate(learner.settings.learning_rate(epoch, number, len(steps)))
        means.n_seen += step.n_seen
        for part in step.parts:
            batch = part.batch.to(learner.device)
            with learner.gradients(last=part is step.parts[-1]):
                with learner.precision():
                    loss, logit = batch_loss(learner.network, batch, learner.class_weights)
                require_finite(loss, batch, names, title)
                learner.backward(loss * part.share)
            correct = ((logit > 0) == (batch.target > 0.5)).float().mean().item()
            means.add(part.n, loss=loss.item() / step.mean_weight, acc=correct)
        if step.parts:
            learner.step()
        progress.set_postfix(loss=f"{means.mean('loss'):.4f}", acc=f"{means.mean('acc'):.3f}")
    learner.finish_epoch()
    means = means.over(learner.processes)
    if means.n == 0:
        raise WorkError("no training clip has the modalities that the model needs")
    return {
        "train_loss": means.mean("loss"),
        "train_accuracy": means.mean("acc"),
        "n_train": means.n,
        "n_train_unusable": means.n_seen - means.n,
        "train_clips_per_s": round(means.n_seen / (time.perf_counter() - started), 2),
    }


def batch_loss(
    network: Callable[[Batch], DetectorOutput], batch: Batch, class_weights: tuple[float, float] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the mean binary cross-entropy of a batch, each clip weighted by its class, and the logits, (B,)."""
    logit = network(batch).logit.float()
    weight = None
    if class_weights is not None:
        real, fake = class_weights
        weight = torch.where(batch.target > 0.5, fake, real)
    return F.binary_cross_entropy_with_logits(logit, batch.target, weight), logit


def require_finite(loss: Tensor, batch: Batch, names: list[str], title: str) -> None:
    """Check that a loss is finite.

    Raises:
        WorkError: it is not; the message names the clips of the batch.
    """
    if not torch.isfinite(loss):
        clips = ", ".join(names[index] for index in batch.index.tolist())
        raise WorkError(
            f"{title}: the loss is {loss.item()}, so the weights were not updated; clips of the batch: {clips}"
        )


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
