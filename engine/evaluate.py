"""Evaluation of a split: score its clips, then compute metrics from the scores."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from dataset.clips import CachedFeatures, ClipTable, ScoringDataset, make_loader
from dataset.labels import read_table
from dataset.packed.read import PackedFeatures
from dataset.samples import InputLayout
from dataset.sampling import BatchShare
from dataset.splits import Split, open_split
from engine.checkpoint import Checkpoint
from engine.config import RunConfig
from engine.processes import current_processes
from engine.scoring import EVIDENCE_PREFIX
from engine.torch_scorer import score_batches
from engine.training_clips import seen_in_training
from models.base import DetectorModel
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.features.windows import SINGLE_S
from utils.files import existing_file
from utils.metrics import Calibration, DecisionRule, TargetRates, fit_calibration, summarise

log = logging.getLogger(__name__)

FIRST_COLUMNS = ["video_name", "target", "score", "logit", "status", "reason"]


@dataclass
class SplitResult:
    """Predictions and metrics of one split."""

    predictions: pd.DataFrame
    metrics: dict[str, Any]


def split_of(config: RunConfig, name: str, features: FeatureConfig) -> Split:
    """Return the split `name` of the configured data root."""
    data = config.data
    return open_split(name, config.data_root, config.label_name, data.video_dir, features, data.raw_suffix)


def evaluate_split(
    model: DetectorModel, checkpoint: Checkpoint, config: RunConfig, clips: ClipTable, device: torch.device
) -> SplitResult:
    """Score a split with a checkpoint's calibration and compute its metrics."""
    predictions = predict_split(
        model, clips, checkpoint.features, config, device=device, calibration=checkpoint.calibration
    )
    return current_processes().on_main(lambda: split_result(predictions, clips, checkpoint, config))


def split_result(predictions: pd.DataFrame, clips: ClipTable, checkpoint: Checkpoint, config: RunConfig) -> SplitResult:
    """Compute the metrics of a split's predictions and count the clips that the checkpoint was trained on.

    `n_seen_in_training` is null if the checkpoint has no hashes of its training clips.
    """
    initialisation = checkpoint.provenance.get("initialisation", "unknown")
    metrics = summarise_split(predictions, clips.split.name, checkpoint.calibration, initialisation, config)
    seen = seen_in_training(checkpoint.trained_on, clips)
    metrics["n_seen_in_training"] = None if seen is None else int(seen.sum())
    if seen is not None and seen.any():
        log.warning(
            "%s: the checkpoint was trained on %d of these %d clips (for example %r), which inflates its metrics",
            clips.split.name, seen.sum(), len(seen), clips.names[int(seen.argmax())],
        )  # fmt: skip
    return SplitResult(predictions, metrics)


def predict_split(
    model: DetectorModel,
    clips: ClipTable,
    features: FeatureConfig,
    config: RunConfig,
    *,
    device: torch.device,
    calibration: Calibration,
) -> pd.DataFrame:
    """Score a split's clips. Several processes divide them, and each returns the whole table.

    Returns:
        The table of `predictions.csv`: one row per labelled clip, in the order of the label file.
    """
    layout = InputLayout(features, model.inputs)
    note_long_clips(clips, layout)
    processes = current_processes()
    share = BatchShare(range(len(clips.names)), config.eval.batch_size, rank=processes.rank, size=processes.size)
    own = None
    # There may be fewer clips than processes.
    if len(share):
        loader = make_loader(
            ScoringDataset(clips, layout), share, workers=config.data.workers, pin_memory=device.type == "cuda"
        )
        own = score_batches(model, loader, device=device, calibration=calibration, tta=config.eval.tta)
    scored = pd.concat([part for part in processes.gather(own) if part is not None], ignore_index=True)
    scored = scored.sort_values("index").drop(columns="index").reset_index(drop=True)
    labels = clips.labels.drop(columns=[name for name in scored.columns if name in clips.labels])
    table = pd.concat([labels.reset_index(drop=True), scored], axis=1)
    evidence = [name for name in scored.columns if name.startswith(EVIDENCE_PREFIX)]
    label_columns = [name for name in table.columns if name not in FIRST_COLUMNS and name not in evidence]
    return table[FIRST_COLUMNS + label_columns + evidence]


def note_long_clips(clips: ClipTable, layout: InputLayout) -> None:
    """Log the number of clips that are scored by their stored features but that inference scores in windows."""
    if not isinstance(clips.source, CachedFeatures | PackedFeatures) or not layout.windowed:
        return
    number = clips.source.longer_than(SINGLE_S, clips.names)
    if number:
        log.info(
            "%s: %d clips are longer than %g s and are scored by the stored features of the whole clip; inference.py "
            "scores them in windows, as data.source=video does", clips.split.name, number, SINGLE_S,
        )  # fmt: skip


def calibrate(predictions: pd.DataFrame, config: RunConfig) -> Calibration:
    """Fit calibration and thresholds on validation predictions; return the identity if they cannot be fitted."""
    known = predictions[predictions["logit"].notna() & predictions["target"].notna()]
    target = known["target"].to_numpy(float)
    if not config.eval.calibrate or len(np.unique(target)) < 2:
        return Calibration()
    groups = known["group"].to_numpy(str) if "group" in known else None
    rates = TargetRates(config.eval.target_fpr, config.eval.target_fnr)
    return fit_calibration(target, known["logit"].to_numpy(float), fitted_on="valset", rates=rates, groups=groups)


def rescore(predictions: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """Return the predictions with the scores of another calibration."""
    return predictions.assign(score=calibration.score(predictions["logit"].to_numpy(float)))


def summarise_split(
    predictions: pd.DataFrame, split: str, calibration: Calibration, initialisation: str, config: RunConfig
) -> dict[str, Any]:
    """Return the metrics of a split, marked `in_sample` if the calibration was fitted on it."""
    return summarise(
        predictions,
        split=split,
        rule=DecisionRule(calibration, in_sample=calibration.is_fitted and calibration.fitted_on == split),
        initialisation=initialisation,
        bootstrap=config.eval.bootstrap,
        seed=config.seed,
    )


def read_submission(path: str) -> pd.DataFrame:
    """Read a submission file, `video_name,y_pred`, as text, which preserves the format of its values.

    Raises:
        UsageError: the file is missing, or lacks these columns.
    """
    submission = read_table(existing_file(path, "submission file"))
    if "y_pred" not in submission.columns:
        raise UsageError(f"{path}: expected the columns video_name,y_pred; it has {','.join(submission.columns)}")
    return submission[["video_name", "y_pred"]]


def merge_scores(submission: pd.DataFrame, predictions: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Replace the values of a submission by our scores. Clips that we did not score keep their value.

    Args:
        submission: the table of `read_submission`.
        predictions: a table with `video_name` and `score` (NaN where unscored).

    Returns:
        The merged submission and the number of values replaced.
    """
    scores = predictions.dropna(subset="score").set_index("video_name")["score"]
    ours = submission["video_name"].map(scores)
    merged = submission.assign(y_pred=ours.map("{:.9g}".format).where(ours.notna(), submission["y_pred"]))
    return merged, int(ours.notna().sum())
