"""What `main.py` does: train and evaluate, resume, or evaluate a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dataset.clips import ClipTable, open_clips
from engine.checkpoint import Checkpoint, load_checkpoint
from engine.config import EMPTY_DATA_HINT, RunConfig, check_run_config
from engine.device import make_repeatable, pick_device, seed_everything
from engine.evaluate import (
    SplitResult,
    calibrate,
    merge_scores,
    predict_split,
    read_submission,
    rescore,
    split_of,
    summarise_split,
)
from engine.leakage import check_leakage
from engine.results import describe_run, finish, refuse_unscored
from engine.run_folder import PREDICTION_FILE, RunFolder, check_output, write_csv
from engine.train import need_both_classes, need_gradients, train
from models import build_model
from models.base import Detector
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.metrics import Calibration

log = logging.getLogger(__name__)

MERGED_FILE = "submit.csv"
"""Where a merged submission goes unless the user says otherwise."""


def run_training(config: RunConfig, resume: str | None = None) -> RunFolder:
    """Train, select on the validation split, evaluate the best epoch on the split that `evaluate` names.

    Args:
        config: the resolved configuration, model section included.
        resume: a checkpoint to go on from, in its own run folder; model and features are then the checkpoint's.
    """
    need_gradients(config)
    started = datetime.now(timezone.utc)
    device = pick_device(config.device)
    resumed = load_checkpoint(resume) if resume else None
    if resumed is not None:
        if resumed.training is None:
            raise UsageError(f"{resume} holds no training state; resume from the run's last.pth")
        config = with_settings_of(resumed, config)
    features = config.features
    train_clips = open_needed(config, "trainset", features, need_targets=True)
    val_clips = open_needed(config, "valset", features, need_targets=True)
    need_both_classes(train_clips, val_clips)
    test_clips = open_needed(config, "testset", features, need_targets=False) if config.evaluate == "test" else None
    check_output(PREDICTION_FILE, "the prediction file")
    leakage = check_leakage(train_clips, [val_clips, *([test_clips] if test_clips is not None else [])], config)

    make_repeatable()
    seed_everything(config.seed)
    model = resumed.build() if resumed else build_model(config.model, features)
    folder = RunFolder(Path(resume).parent) if resume else RunFolder.create(config.output_dir, config.name)
    folder.log_to_file()
    folder.write_config(config.to_yaml())
    log.info("run folder %s; device %s; weights start: %s", folder.path, device, model.initialisation)
    log_sizes(train_clips, val_clips)
    log.info("%s", leakage.sentence())
    model, best, validated = fit(
        model, train_clips, val_clips, config, folder, device=device, resumed=resumed.training if resumed else None
    )
    results = {"valset": validated}
    if test_clips is not None:
        results["testset"] = evaluate_split(model, best, config, test_clips, device)
    finish(folder, results, best, config, started, folder.best, leakage)
    refuse_unscored(folder, results[config.evaluated_split], config)
    return folder


def fit(
    model: Detector,
    train_clips: ClipTable,
    val_clips: ClipTable,
    config: RunConfig,
    folder: RunFolder,
    *,
    device: torch.device,
    resumed: dict[str, Any] | None = None,
) -> tuple[Detector, Checkpoint, SplitResult]:
    """Train a model and calibrate its best epoch on the validation clips.

    Returns:
        The best epoch's model, its checkpoint (saved as the folder's best), and its result on the validation clips.
    """
    identity = Checkpoint(
        model=config.model,
        features=config.features,
        weights={},
        run_config=config.model_dump(mode="json"),
        provenance=describe_run(config, model, {"trainset": train_clips, "valset": val_clips}),
    )
    state = train(
        model.to(device),
        train_clips,
        val_clips,
        config,
        folder,
        device=device,
        identity=identity,
        resumed=resumed,
    )
    log.info("best epoch %d: validation AUC %.4f", state.best_epoch, state.best_auc)
    best = load_checkpoint(folder.best)
    model = best.build().to(device)
    val_raw = predict_split(model, val_clips, config.features, config, device=device, calibration=Calibration())
    best.calibration = calibrate(val_raw, config)
    validated = evaluated(rescore(val_raw, best.calibration), "valset", best, config)
    best.metrics = {"valset": validated.metrics}
    best.save(folder.best)
    return model, best, validated


def run_evaluation(
    config: RunConfig, checkpoint_path: str, *, merge_into: str | None = None, output: str | None = None
) -> RunFolder:
    """Evaluate a checkpoint on the split that `evaluate` names (with `test`, on the validation split too when it is there).

    Model and features come from the checkpoint; only data, evaluation and device come from the configuration.

    Args:
        config: the resolved configuration.
        checkpoint_path: the checkpoint.
        merge_into: a submission to fill with our scores.
        output: where the filled submission goes.
    """
    started = datetime.now(timezone.utc)
    device = pick_device(config.device)
    checkpoint = load_checkpoint(checkpoint_path)
    model = checkpoint.build().to(device)
    names = [config.evaluated_split]
    if config.evaluate == "test" and split_of(config, "valset", checkpoint.features).labels.is_file():
        names.insert(0, "valset")
    tables = [open_needed(config, name, checkpoint.features, need_targets=False) for name in names]
    check_output(PREDICTION_FILE, "the prediction file")
    if merge_into is not None:
        submission = read_submission(merge_into)
        merged_path = check_output(output or MERGED_FILE, "the merged submission")
    make_repeatable()
    name = checkpoint.run_config.get("name", config.name) if config.name == RunConfig().name else config.name
    config = config.model_copy(update={"name": name, "model": checkpoint.model, "features": checkpoint.features})
    folder = RunFolder.create(config.output_dir, f"{name}_evaluation")
    folder.log_to_file()
    folder.write_config(config.to_yaml())
    log.info("run folder %s; device %s; checkpoint %s", folder.path, device, checkpoint_path)
    results = {table.split.name: evaluate_split(model, checkpoint, config, table, device) for table in tables}
    finish(folder, results, checkpoint, config, started, Path(checkpoint_path))
    headline = results[config.evaluated_split]
    if merge_into is not None:
        merged, n_ours = merge_scores(submission, headline.predictions)
        write_csv(merged, merged_path)
        log.info("%s: %d values of %s are replaced by ours", merged_path, n_ours, merge_into)
    refuse_unscored(folder, headline, config)
    return folder


def with_settings_of(checkpoint: Checkpoint, config: RunConfig) -> RunConfig:
    """The configuration with the checkpoint's model and features, which a resumed run cannot change.

    Raises:
        UsageError: the configuration asks for others.
    """
    for name, theirs, ours in (
        ("model", checkpoint.model, config.model),
        ("features", checkpoint.features.model_dump(), config.features.model_dump()),
    ):
        differing = sorted(key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key))
        if differing:
            keys = ", ".join(f"{name}.{key}" for key in differing)
            raise UsageError(f"a resumed run keeps its model and features, but the config has another {keys}")
    return config.model_copy(update={"model": checkpoint.model, "features": checkpoint.features})


def resumed_config(checkpoint_path: str, overrides: Sequence[str]) -> RunConfig:
    """The configuration that a checkpoint was trained with, with overrides (more epochs, say)."""
    return check_run_config(
        load_checkpoint(checkpoint_path).run_config, overrides, where=checkpoint_path, check_model=True
    )


def open_needed(config: RunConfig, name: str, features: FeatureConfig, *, need_targets: bool) -> ClipTable:
    """A split that this run cannot do without."""
    split = split_of(config, name, features)
    if not split.labels.is_file():
        raise UsageError(f"{name} is needed, but its label file {split.labels} does not exist; {EMPTY_DATA_HINT}")
    return open_clips(split, config.data, config.extraction, need_targets=need_targets)


def evaluate_split(
    model: Detector, checkpoint: Checkpoint, config: RunConfig, clips: ClipTable, device: torch.device
) -> SplitResult:
    """Score a split with a checkpoint's calibration, then compute its metrics."""
    predictions = predict_split(
        model, clips, checkpoint.features, config, device=device, calibration=checkpoint.calibration
    )
    return evaluated(predictions, clips.split.name, checkpoint, config)


def evaluated(predictions: pd.DataFrame, name: str, checkpoint: Checkpoint, config: RunConfig) -> SplitResult:
    """Predictions with their metrics."""
    initialisation = checkpoint.provenance.get("initialisation", "unknown")
    return SplitResult(predictions, summarise_split(predictions, name, checkpoint.calibration, initialisation, config))


def log_sizes(*tables: ClipTable) -> None:
    """How many clips of each class the run has."""
    for table in tables:
        fakes = int(table.labels["target"].sum())
        log.info(
            "%s: %d clips, %d real and %d fake", table.split.name, len(table.labels), len(table.labels) - fakes, fakes
        )
