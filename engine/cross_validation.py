"""Grouped cross-validation: every labelled clip is scored once, by a model that saw no relative of it.

The labels of the training and the validation split are pooled and divided into folds of whole groups. For each fold a model is
trained on the others, less clips whose group reaches into the tested fold; its epoch and calibration are chosen on a
group-disjoint part of its own training clips, never on the tested ones. Logits of different models have no common scale, so the
pooled figures rank by the logit of each fold's calibrated score.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import logit as log_odds

from dataset.clips import ClipTable, FeatureSource
from dataset.folds import GroupFacts, assign_groups, related_groups, training_rows
from dataset.split_files import in_order, read_folds
from engine.config import RunConfig
from engine.device import make_repeatable, pick_device, seed_everything
from engine.evaluate import SplitResult, summarise_split
from engine.run import evaluate_split, finish, fit, open_needed, refuse_unscored, split_of
from engine.run_folder import PREDICTION_FILE, RunFolder, check_output
from engine.train import need_both_classes, need_gradients
from models import build_model
from utils.errors import UsageError
from utils.features.extract import ClipFeatures
from utils.metrics import Calibration

log = logging.getLogger(__name__)

GROUPING_COLUMNS = ("group", "source", "identity", "person")
"""Columns that relate clips when only a number of folds is given; those that the labels have are used."""

OUT_OF_FOLD = "out_of_fold"
"""Name of figures for which each clip was judged, and calibrated, by what was fitted without its fold."""

CERTAIN = 1e-12


@dataclass(frozen=True)
class PooledFeatures:
    """Features of clips from several splits, by name."""

    sources: dict[str, FeatureSource]

    def __call__(self, name: str) -> ClipFeatures:
        """The clip's features from its own split."""
        return self.sources[name](name)


@dataclass(frozen=True)
class Folds:
    """Each pooled clip's fold (text) and group number, (N,) each."""

    fold: np.ndarray
    group: np.ndarray


def run_cross_validation(config: RunConfig) -> RunFolder:
    """Train and test once per fold; write each fold's run below `fold_<name>` and the out-of-fold results beside them.

    Args:
        config: the resolved configuration; `split.folds` is a number or a file.

    Returns:
        The run folder: `predictions.csv` has every labelled clip once, with its fold.
    """
    need_gradients(config)
    started = datetime.now(timezone.utc)
    device = pick_device(config.device)
    pooled = pool_clips(config)
    folds = divide(pooled.labels, config)
    names = in_order(folds.fold)
    parts = {name: fold_tables(pooled, folds, name, config) for name in names}
    for train_clips, val_clips, _ in parts.values():
        need_both_classes(train_clips, val_clips)
    check_output(PREDICTION_FILE, "the prediction file")
    folder = RunFolder.create(config.output_dir, f"{config.name}_folds")
    folder.log_to_file()
    folder.write_config(config.to_yaml())
    log.info("run folder %s; device %s; %s", folder.path, device, GroupFacts.of(folds.group).sentence())
    results: dict[str, SplitResult] = {}
    epochs = []
    for name, tables in parts.items():
        results[f"fold_{name}"], best = run_fold(tables, config, folder, device)
        epochs.append(f"fold {name}: {best.epoch}")
    out_of_fold = pool_predictions(pooled.labels, results, folds.fold)
    metrics = summarise_split(
        out_of_fold, OUT_OF_FOLD, Calibration(), best.provenance.get("initialisation", "unknown"), config
    )
    aucs = [result.metrics["auc"]["value"] for result in results.values() if result.metrics["auc"]["value"] is not None]
    metrics["fold_auc"] = {
        "n": len(aucs),
        "mean": float(np.mean(aucs)) if aucs else None,
        "sd": float(np.std(aucs, ddof=1)) if len(aucs) > 1 else None,
    }
    results[OUT_OF_FOLD] = SplitResult(out_of_fold, metrics)
    finish(folder, results, best, config, started, folder.path, best_epoch=", ".join(epochs))
    refuse_unscored(folder, results[OUT_OF_FOLD], config)
    return folder


def pool_clips(config: RunConfig) -> ClipTable:
    """The clips of the training split and, where it has labels, of the validation split as one table.

    Raises:
        UsageError: a name occurs in both.
    """
    tables = [open_needed(config, "trainset", config.features, need_targets=True)]
    if split_of(config, "valset", config.features).labels.is_file():
        tables.append(open_needed(config, "valset", config.features, need_targets=True))
    labels = pd.concat([table.labels for table in tables], ignore_index=True)
    twice = labels.loc[labels["video_name"].duplicated(), "video_name"]
    if len(twice):
        raise UsageError(f"cross-validation pools the splits, but {twice.iloc[0]!r} is in trainset and in valset")
    sources = {name: table.source for table in tables for name in table.names}
    return ClipTable(tables[0].split, labels, PooledFeatures(sources))


def divide(labels: pd.DataFrame, config: RunConfig) -> Folds:
    """The folds that `split.folds` asks for.

    Raises:
        UsageError: a fold file that leaves a clip out or has one fold only.
    """
    wanted = config.split.folds
    if wanted is None:
        raise UsageError("split.folds is not set: give a number of folds or a file of utils/make_splits.py")
    if isinstance(wanted, int):
        columns = [name for name in GROUPING_COLUMNS if name in labels]
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
    # The file's folds are its maker's decision; one column is enough to keep each fold's own selection clips apart.
    return Folds(fold, related_groups(table, [name for name in GROUPING_COLUMNS if name in table][:1]))


def fold_tables(
    pooled: ClipTable, folds: Folds, name: str, config: RunConfig
) -> tuple[ClipTable, ClipTable, ClipTable]:
    """The clips to train on, to select on and to test on when the fold `name` is held out."""
    rows = np.flatnonzero(training_rows(folds.fold, folds.group, name))
    if not len(rows):
        raise UsageError(f"nothing is left to train on when fold {name} is tested: its groups reach into all others")
    share = config.split.fold_validation
    groups = pd.factorize(folds.group[rows])[0]
    selecting = assign_groups(pooled.labels.iloc[rows], groups, (1 - share, share), config.seed) == 1

    def table(split: str, chosen: np.ndarray) -> ClipTable:
        labels = pooled.labels.iloc[chosen].reset_index(drop=True)
        return replace(pooled, split=replace(pooled.split, name=split), labels=labels)

    return (
        table("trainset", rows[~selecting]),
        table("valset", rows[selecting]),
        table(f"fold_{name}", np.flatnonzero(folds.fold == name)),
    )


def run_fold(
    tables: tuple[ClipTable, ClipTable, ClipTable], config: RunConfig, parent: RunFolder, device: torch.device
) -> tuple[SplitResult, Any]:
    """Train one fold's model in its own folder and score the fold; returns the result and the checkpoint."""
    train_clips, val_clips, test_clips = tables
    folder = RunFolder(parent.path / safe_folder(test_clips.split.name))
    folder.path.mkdir()
    log.info("%s: %d clips, trained on %d", test_clips.split.name, len(test_clips.labels), len(train_clips.labels))
    make_repeatable()
    seed_everything(config.seed)
    model = build_model(config.model, config.features)
    model, best, _ = fit(model, train_clips, val_clips, config, folder, device=device)
    result = evaluate_split(model, best, config, test_clips, device)
    folder.write_predictions(result.predictions)
    folder.write_metrics(result.metrics)
    return result, best


def safe_folder(name: str) -> str:
    """A fold's name as a folder name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def pool_predictions(labels: pd.DataFrame, results: dict[str, SplitResult], fold: np.ndarray) -> pd.DataFrame:
    """The folds' predictions in the label files' order, with the fold and the logit of the calibrated score."""
    table = pd.concat([result.predictions for result in results.values()], ignore_index=True)
    table = table.set_index("video_name").loc[labels["video_name"]].reset_index()
    certain = table["score"].astype(float).clip(CERTAIN, 1 - CERTAIN)
    return table.assign(logit=log_odds(certain), fold=fold)
