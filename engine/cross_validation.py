"""Grouped cross-validation: every labelled clip is scored once, by a model trained without its group.

The labels of the training and validation splits are pooled and divided into folds of whole groups. For each fold, a model is
trained on the clips of the other folds, except those whose group also occurs in the tested fold. Its epoch and calibration are
selected on a group-disjoint part of these clips, never on the tested ones. Logits of different models have no common scale, so
the pooled metrics rank clips by the logit of the calibrated score.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import logit as log_odds

from dataset.clips import ClipTable, FeatureSource
from dataset.folds import RECORDING_COLUMNS, GroupFacts, assign_groups, related_groups, training_rows
from dataset.split_files import in_order, read_folds
from dataset.splits import Split
from engine.checkpoint import Checkpoint
from engine.config import RunConfig
from engine.device import make_repeatable, seed_everything
from engine.evaluate import SplitResult, evaluate_split, split_of, summarise_split
from engine.processes import current_processes, process_group
from engine.results import ResultOrigin, finish, refuse_unscored
from engine.run import describe, open_required, require_both_classes, require_gradient_training, run_folder
from engine.run_folder import PREDICTION_FILE, RunFolder, check_output
from engine.train import TrainingClips, fit
from models import build_model
from utils.errors import UsageError
from utils.features.clip import ClipFeatures
from utils.metrics import Calibration

log = logging.getLogger(__name__)

GROUPING_COLUMNS = ("group", "source", "identity", "person")
"""Label columns that group related clips, used if present when `split.folds` is a number."""

OUT_OF_FOLD = "out_of_fold"
"""Split name of metrics of clips that were scored and calibrated without their own fold."""

SCORE_MARGIN = 1e-12
"""Scores are clipped to this distance from 0 and 1 to keep their logits finite."""


@dataclass(frozen=True)
class PooledFeatures:
    """Features of clips from several splits, by name."""

    sources: dict[str, FeatureSource]

    def __call__(self, name: str, features: Collection[str] | None = None) -> ClipFeatures:
        """Return the clip's features from its own split."""
        return self.sources[name](name, features)


@dataclass(frozen=True)
class PooledSplit(Split):
    """Several splits as one. Each clip's file is read from its own split.

    Attributes:
        owners: the split of each clip, by name.
    """

    owners: Mapping[str, Split]

    def video_path(self, clip: str) -> Path:
        """Return the path of a clip."""
        return self.owners[clip].video_path(clip)


@dataclass(frozen=True)
class Folds:
    """Fold (text) and group number of each pooled clip, (N,) each."""

    fold: np.ndarray
    group: np.ndarray


@dataclass(frozen=True)
class FoldClips:
    """The clips of one fold: for training and selection, and for testing."""

    training: TrainingClips
    test: ClipTable


def run_cross_validation(config: RunConfig, *, submission: Path = PREDICTION_FILE) -> RunFolder:
    """Train and test once per fold. Each fold's run is written below `fold_<name>`, next to the pooled results.

    Args:
        config: the resolved configuration; `split.folds` is a number or a file.
        submission: path of the challenge's prediction file.

    Returns:
        The run folder. Its `predictions.csv` has one row per labelled clip, with the clip's fold.

    Raises:
        UsageError: the configuration, the labels or the folds cannot be used.
        WorkError: training failed, no clip could be scored, or a file could not be written.
    """
    require_gradient_training(config)
    with process_group(config.device, config.train.timeout_s) as device:
        return cross_validate(config, device, submission)


def cross_validate(config: RunConfig, device: torch.device, submission: Path) -> RunFolder:
    """Cross-validate in the current process group; see `run_cross_validation`."""
    started = datetime.now(timezone.utc)
    processes = current_processes()
    pooled = pool_clips(config)
    folds = divide(pooled.labels, config)
    parts = {name: fold_clips(pooled, folds, name, config) for name in in_order(folds.fold)}
    for part in parts.values():
        require_both_classes(part.training.train, part.training.val)
    processes.on_main(lambda: check_output(submission, "the prediction file"))
    folder = run_folder(config.output_dir, f"{config.name}_folds")
    with folder.logging():
        folder.write_config(config.to_yaml())
        log.info("run folder %s; device %s; %s", folder.path, describe(device), GroupFacts.of(folds.group).sentence())
        results: dict[str, SplitResult] = {}
        epochs = []
        for name, part in parts.items():
            results[f"fold_{name}"], best = run_fold(part, config, folder, device)
            epochs.append(f"fold {name}: {best.epoch}")
        results[OUT_OF_FOLD] = processes.on_main(lambda: pooled_result(pooled, folds, results, best, config))
        origin = ResultOrigin(best, folder.path, started, best_epoch=", ".join(epochs))
        processes.on_main(lambda: finish(folder, results, config, origin, submission))
        refuse_unscored(folder, results[OUT_OF_FOLD], config)
    return folder


def pooled_result(
    pooled: ClipTable, folds: Folds, results: dict[str, SplitResult], best: Checkpoint, config: RunConfig
) -> SplitResult:
    """Pool the folds' predictions and compute their metrics, with mean and standard deviation of the folds' AUCs."""
    predictions = pool_predictions(pooled.labels, results, folds.fold)
    initialisation = best.provenance.get("initialisation", "unknown")
    metrics = summarise_split(predictions, OUT_OF_FOLD, Calibration(), initialisation, config)
    aucs = [result.metrics["auc"]["value"] for result in results.values() if result.metrics["auc"]["value"] is not None]
    metrics["fold_auc"] = {
        "n": len(aucs),
        "mean": float(np.mean(aucs)) if aucs else None,
        "sd": float(np.std(aucs, ddof=1)) if len(aucs) > 1 else None,
    }
    metrics["n_seen_in_training"] = sum(result.metrics["n_seen_in_training"] for result in results.values())
    return SplitResult(predictions, metrics)


def pool_clips(config: RunConfig) -> ClipTable:
    """Open the clips of the training split and, if it has labels, of the validation split as one table.

    Raises:
        UsageError: a name occurs in both splits, or packed features are requested.
    """
    if config.data.source == "packed":
        raise UsageError(
            "data.source=packed: cross-validation pools the clips of two splits, and a pack has those of one; "
            "set data.source=features"
        )
    tables = [open_required(config, "trainset", config.features, need_targets=True)]
    if split_of(config, "valset", config.features).labels.is_file():
        tables.append(open_required(config, "valset", config.features, need_targets=True))
    labels = pd.concat([table.labels for table in tables], ignore_index=True)
    twice = labels.loc[labels["video_name"].duplicated(), "video_name"]
    if len(twice):
        raise UsageError(f"cross-validation pools the splits, but {twice.iloc[0]!r} is in trainset and in valset")
    sources = {name: table.source for table in tables for name in table.names}
    owners = {name: table.split for table in tables for name in table.names}
    first = tables[0].split
    split = PooledSplit(first.name, first.labels, first.videos, first.store, owners)
    return ClipTable(split, labels, PooledFeatures(sources))


def divide(labels: pd.DataFrame, config: RunConfig) -> Folds:
    """Divide clips into the folds that `split.folds` requests.

    Raises:
        UsageError: the fold file does not list a clip, or has only one fold.
    """
    wanted = config.split.folds
    if wanted is None:
        raise UsageError("split.folds is not set: give a number of folds or a file of utils/make_splits.py")
    if isinstance(wanted, int):
        columns = [name for name in (*GROUPING_COLUMNS, *RECORDING_COLUMNS) if name in labels]
        if not columns:
            log.warning(
                "the labels have none of the columns %s: every clip is its own group; utils/make_splits.py "
                "--near_duplicates finds related clips",
                ", ".join(GROUPING_COLUMNS),
            )
        group = related_groups(labels, columns)
        return Folds(assign_groups(labels, group, [1] * wanted, config.seed).astype(str), group)
    table = read_folds(wanted, config.split.fold_column)
    absent = labels.loc[~labels["video_name"].isin(table.index), "video_name"]
    if len(absent):
        raise UsageError(
            f"{wanted} leaves out {len(absent)} clip(s) of the label files, the first is {absent.iloc[0]!r}"
        )
    table = table.loc[labels["video_name"]].reset_index()
    fold = table[config.split.fold_column].str.strip().to_numpy(str)
    if len(set(fold)) < 2:
        raise UsageError(f"{wanted}: every clip is in fold {fold[0]!r}; cross-validation needs two")
    # The folds are given, so one grouping column suffices to separate selection clips from training clips.
    columns = [name for name in GROUPING_COLUMNS if name in table][:1]
    recordings = [name for name in RECORDING_COLUMNS if name in labels]
    table = table.assign(**{name: labels[name].to_numpy() for name in recordings})
    return Folds(fold, related_groups(table, [*columns, *recordings]))


def fold_clips(pooled: ClipTable, folds: Folds, name: str, config: RunConfig) -> FoldClips:
    """Return the clips to train, select and test on when the fold `name` is held out.

    Raises:
        UsageError: no clip is left to train on.
    """
    rows = np.flatnonzero(training_rows(folds.fold, folds.group, name))
    if not len(rows):
        raise UsageError(f"no clip is left to train on when fold {name} is tested: its groups occur in all other folds")
    share = config.split.fold_validation
    groups = pd.factorize(folds.group[rows])[0]
    selecting = assign_groups(pooled.labels.iloc[rows], groups, (1 - share, share), config.seed) == 1

    def table(split: str, chosen: np.ndarray) -> ClipTable:
        labels = pooled.labels.iloc[chosen].reset_index(drop=True)
        return replace(pooled, split=replace(pooled.split, name=split), labels=labels)

    training = TrainingClips(table("trainset", rows[~selecting]), table("valset", rows[selecting]))
    return FoldClips(training, table(f"fold_{name}", np.flatnonzero(folds.fold == name)))


def run_fold(
    clips: FoldClips, config: RunConfig, parent: RunFolder, device: torch.device
) -> tuple[SplitResult, Checkpoint]:
    """Train one fold's model in its own folder and score the fold; return the result and the checkpoint."""
    test = clips.test
    folder = parent.subfolder(safe_folder(test.split.name))
    log.info("%s: %d clips, trained on %d", test.split.name, len(test.labels), len(clips.training.train.labels))
    make_repeatable()
    seed_everything(config.seed)
    fitted = fit(build_model(config.model, config.features), clips.training, config, folder, device=device)
    result = evaluate_split(fitted.model, fitted.checkpoint, config, test, device)
    folder.write_predictions(result.predictions)
    folder.write_metrics(result.metrics)
    return result, fitted.checkpoint


def safe_folder(name: str) -> str:
    """Return a fold's name as a folder name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def pool_predictions(labels: pd.DataFrame, results: dict[str, SplitResult], fold: np.ndarray) -> pd.DataFrame:
    """Pool the folds' predictions in the order of the labels, with the fold and the logit of the calibrated score."""
    table = pd.concat([result.predictions for result in results.values()], ignore_index=True)
    table = table.set_index("video_name").loc[labels["video_name"]].reset_index()
    certain = table["score"].astype(float).clip(SCORE_MARGIN, 1 - SCORE_MARGIN)
    return table.assign(logit=log_odds(certain), fold=fold)
