"""What `main.py` does: train and evaluate, resume, or evaluate a checkpoint."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dataset.clips import ClipTable, open_clips
from dataset.splits import Split, open_split
from engine.checkpoint import Checkpoint, load_checkpoint
from engine.config import EMPTY_DATA_HINT, RunConfig, check_run_config
from engine.device import make_repeatable, pick_device, seed_everything
from engine.evaluate import (
    SplitResult,
    calibrate,
    merge_into_submission,
    predict_split,
    rescore,
    summarise_split,
)
from engine.provenance import git_state, package_versions, table_fingerprint
from engine.report import ReportInputs, write_report
from engine.run_folder import RunFolder, write_submission
from engine.scoring import EVIDENCE_PREFIX
from engine.train import train
from models import build_model, model_config
from models.base import Detector
from utils.errors import UsageError, WorkError
from utils.features.config import FeatureConfig
from utils.metrics import Calibration

log = logging.getLogger(__name__)


def run_training(config: RunConfig, resume: str | None = None) -> RunFolder:
    """Train, select on the validation split, evaluate the best epoch on the split that `evaluate` names.

    Args:
        config: the resolved configuration.
        resume: a checkpoint to go on from, in its own run folder; model and features are then the checkpoint's.
    """
    started = datetime.now(timezone.utc)
    device = pick_device(config.device)
    resumed = load_checkpoint(resume) if resume else None
    if resumed is not None:
        if resumed.training is None:
            raise UsageError(f"{resume} holds no training state; resume from the run's last.pth")
        config = config.model_copy(update={"model": resumed.model, "features": resumed.features})
    features = config.features
    train_clips = open_needed(config, "trainset", features, need_targets=True)
    val_clips = open_needed(config, "valset", features, need_targets=True)
    if config.evaluate == "test":
        open_needed(config, "testset", features, need_targets=False)

    make_repeatable()
    seed_everything(config.seed)
    model = resumed.build() if resumed else build_model(config.model, features)
    folder = RunFolder(Path(resume).parent) if resume else RunFolder.create(config.output_dir, config.name)
    folder.log_to_file()
    folder.write_config(config.to_yaml())
    log.info("run folder %s; device %s; weights start: %s", folder.path, device, model.initialisation)
    log_sizes(train_clips, val_clips)
    identity = Checkpoint(
        model=model_config(config.model).model_dump(),
        features=features,
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
        resumed=resumed.training if resumed else None,
    )
    log.info("best epoch %d: validation AUC %.4f", state.best_epoch, state.best_auc)

    best = load_checkpoint(folder.best)
    model = best.build().to(device)
    val_raw = predict_split(model, val_clips, features, config, device=device, calibration=Calibration())
    best.calibration = calibrate(val_raw, config)
    results = {"valset": evaluated(rescore(val_raw, best.calibration), "valset", best, config)}
    best.metrics = {"valset": results["valset"].metrics}
    best.save(folder.best)
    if config.evaluate == "test":
        results["testset"] = evaluate_split(model, best, config, "testset", device)
    finish(folder, results, best, config, started, folder.best)
    return folder


def run_evaluation(
    config: RunConfig, checkpoint_path: str, *, merge_into: str | None = None, output: str | None = None
) -> RunFolder:
    """Evaluate a checkpoint on the split that `evaluate` names (with `test`, on the validation split too when it is there).

    Model and features come from the checkpoint; only data, evaluation and device come from the configuration.
    """
    started = datetime.now(timezone.utc)
    device = pick_device(config.device)
    checkpoint = load_checkpoint(checkpoint_path)
    model = checkpoint.build().to(device)
    open_needed(config, config.evaluated_split, checkpoint.features, need_targets=False)
    make_repeatable()
    folder = RunFolder.create(config.output_dir, f"{config.name}_evaluation")
    folder.log_to_file()
    config = config.model_copy(update={"model": checkpoint.model, "features": checkpoint.features})
    folder.write_config(config.to_yaml())
    log.info("run folder %s; device %s; checkpoint %s", folder.path, device, checkpoint_path)
    names = [config.evaluated_split]
    if config.evaluate == "test" and split_of(config, "valset", checkpoint.features).labels.is_file():
        names.insert(0, "valset")
    results = {name: evaluate_split(model, checkpoint, config, name, device) for name in names}
    finish(folder, results, checkpoint, config, started, Path(checkpoint_path))
    if merge_into is not None:
        n_ours = merge_into_submission(results[config.evaluated_split].predictions, merge_into, output or "submit.csv")
        log.info("%s: %d values of %s are replaced by ours", output or "submit.csv", n_ours, merge_into)
    if results[config.evaluated_split].predictions["logit"].isna().all():
        raise WorkError(f"no clip of {config.evaluated_split} could be scored; the reasons are in {folder.path}")
    return folder


def resumed_config(checkpoint_path: str, overrides: Sequence[str]) -> RunConfig:
    """The configuration that a checkpoint was trained with, with overrides (more epochs, say)."""
    return check_run_config(
        load_checkpoint(checkpoint_path).run_config, overrides, where=checkpoint_path, check_model=True
    )


def split_of(config: RunConfig, name: str, features: FeatureConfig) -> Split:
    """The split `name` of the configured data root."""
    return open_split(name, config.data_root, config.label_name, config.data.video_dir, features)


def open_needed(config: RunConfig, name: str, features: FeatureConfig, *, need_targets: bool) -> ClipTable:
    """A split that this run cannot do without."""
    split = split_of(config, name, features)
    if not split.labels.is_file():
        raise UsageError(f"{name} is needed, but its label file {split.labels} does not exist; {EMPTY_DATA_HINT}")
    return open_clips(split, config.data, config.extraction, need_targets=need_targets)


def evaluate_split(model: Detector, checkpoint: Checkpoint, config: RunConfig, name: str, device: Any) -> SplitResult:
    """Score a split with a checkpoint's calibration, then compute its metrics."""
    clips = open_needed(config, name, checkpoint.features, need_targets=False)
    predictions = predict_split(
        model, clips, checkpoint.features, config, device=device, calibration=checkpoint.calibration
    )
    return evaluated(predictions, name, checkpoint, config)


def evaluated(predictions: Any, name: str, checkpoint: Checkpoint, config: RunConfig) -> SplitResult:
    """Predictions with their metrics."""
    initialisation = checkpoint.provenance.get("initialisation", "unknown")
    return SplitResult(predictions, summarise_split(predictions, name, checkpoint.calibration, initialisation, config))


def describe_run(config: RunConfig, model: Detector, clips: dict[str, ClipTable]) -> dict[str, Any]:
    """What a checkpoint remembers of its origin."""
    return {
        **git_state(),
        "versions": package_versions(),
        "initialisation": model.initialisation,
        "seed": config.seed,
        "data": {name: table_fingerprint(table.labels) for name, table in clips.items()},
        "label_files": {name: table.split.labels.name for name, table in clips.items()},
    }


def log_sizes(*tables: ClipTable) -> None:
    """How many clips of each class the run has."""
    for table in tables:
        fakes = int(table.labels["target"].sum())
        log.info(
            "%s: %d clips, %d real and %d fake", table.split.name, len(table.labels), len(table.labels) - fakes, fakes
        )


def finish(
    folder: RunFolder,
    results: dict[str, SplitResult],
    checkpoint: Checkpoint,
    config: RunConfig,
    started: datetime,
    checkpoint_path: Path,
) -> None:
    """Write predictions, then metrics, then the report; say the headline."""
    *others, headline = results
    folder.write_predictions(results[headline].predictions)
    write_submission(results[headline].predictions)
    for name in others:
        folder.write_predictions(results[name].predictions, f"predictions.{name}.csv")
    metrics = {**results[headline].metrics, **{name: results[name].metrics for name in others}}
    folder.write_metrics(metrics)
    provenance = {
        "command": shlex.join(["python", *sys.argv]),
        "config_yaml": config.to_yaml(),
        **git_state(),
        "versions": package_versions(),
        "device": config.device,
        "seed": config.seed,
        "data_fingerprint": {name: table_fingerprint(result.predictions) for name, result in results.items()},
        "checkpoint": str(checkpoint_path),
        "trained_at_commit": checkpoint.provenance.get("commit", "unknown"),
        "best_epoch": checkpoint.epoch,
        "initialisation": checkpoint.provenance.get("initialisation", "unknown"),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    inputs = ReportInputs(
        title=f"{config.name} on {headline}",
        metrics={name: result.metrics for name, result in results.items()},
        predictions={name: result.predictions for name, result in results.items()},
        history=folder.read_history(),
        provenance=provenance,
        evidence_columns=tuple(name for name in results[headline].predictions if name.startswith(EVIDENCE_PREFIX)),
    )
    write_report(folder.path / "report.html", inputs)
    log.info("%s", headline_sentence(results[headline].metrics))
    log.info("report: %s", folder.path / "report.html")


def headline_sentence(metrics: dict[str, Any]) -> str:
    """AUC, interval, coverage and initialisation in one line."""
    auc = metrics["auc"]
    start = f"{metrics['split']}: {metrics['n']} clips, coverage {metrics['coverage']:.3f}, start {metrics['initialisation']}; "
    if auc["value"] is None:
        return f"{start}no AUC ({metrics['reasons'].get('auc', 'unknown reason')})"
    if auc["low"] is None:
        return f"{start}AUC {auc['value']:.4f}"
    return f"{start}AUC {auc['value']:.4f} [{auc['low']:.4f}, {auc['high']:.4f}]"
