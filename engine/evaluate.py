"""Evaluation of a split: scores first, then metrics from the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from dataset.clips import ClipDataset, ClipTable, make_loader
from dataset.labels import read_table
from dataset.splits import Split, open_split
from engine.config import RunConfig
from engine.scoring import EVIDENCE_PREFIX, score_batches
from models.base import Detector
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.files import existing_file
from utils.metrics import Calibration, DecisionRule, fit_calibration, summarise

FIRST_COLUMNS = ["video_name", "target", "score", "logit", "status", "reason"]


@dataclass
class SplitResult:
    """Predictions and metrics of one split."""

    predictions: pd.DataFrame
    metrics: dict[str, Any]


def split_of(config: RunConfig, name: str, features: FeatureConfig) -> Split:
    """The split `name` of the configured data root."""
    data = config.data
    return open_split(name, config.data_root, config.label_name, data.video_dir, features, data.raw_suffix)


def predict_split(
    model: Detector,
    clips: ClipTable,
    features: FeatureConfig,
    config: RunConfig,
    *,
    device: torch.device,
    calibration: Calibration,
) -> pd.DataFrame:
    """Score a split's clips.

    Returns:
        The table that `predictions.csv` holds, one row per labelled clip in the label file's order.
    """
    loader = make_loader(
        ClipDataset(clips, features),
        batch_size=config.eval.batch_size,
        workers=config.data.workers,
        pin_memory=device.type == "cuda",
    )
    scored = score_batches(model, loader, device=device, calibration=calibration, tta=config.eval.tta)
    scored = scored.sort_values("index").drop(columns="index").reset_index(drop=True)
    labels = clips.labels.drop(columns=[name for name in scored.columns if name in clips.labels])
    table = pd.concat([labels.reset_index(drop=True), scored], axis=1)
    evidence = [name for name in scored.columns if name.startswith(EVIDENCE_PREFIX)]
    further = [name for name in table.columns if name not in FIRST_COLUMNS and name not in evidence]
    return table[FIRST_COLUMNS + further + evidence]


def calibrate(predictions: pd.DataFrame, config: RunConfig) -> Calibration:
    """Calibration and operating threshold from validation predictions; the identity where they cannot be fitted."""
    known = predictions[predictions["logit"].notna() & predictions["target"].notna()]
    target = known["target"].to_numpy(float)
    if not config.eval.calibrate or len(np.unique(target)) < 2:
        return Calibration()
    groups = known["group"].to_numpy(str) if "group" in known else None
    return fit_calibration(
        target, known["logit"].to_numpy(float), fitted_on="valset", target_fpr=config.eval.target_fpr, groups=groups
    )


def rescore(predictions: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """The predictions with scores of another calibration."""
    return predictions.assign(score=calibration.score(predictions["logit"].to_numpy(float)))


def summarise_split(
    predictions: pd.DataFrame, split: str, calibration: Calibration, initialisation: str, config: RunConfig
) -> dict[str, Any]:
    """Metrics of a split's predictions; marked `in_sample` on the split that the calibration was fitted on."""
    return summarise(
        predictions,
        split=split,
        rule=DecisionRule(calibration, in_sample=calibration.is_fitted and calibration.fitted_on == split),
        initialisation=initialisation,
        bootstrap=config.eval.bootstrap,
        seed=config.seed,
    )


def read_submission(path: str) -> pd.DataFrame:
    """A submission file: `video_name,y_pred` as text, so that values which are kept stay as they were written.

    Raises:
        UsageError: the file is absent or not such a csv.
    """
    submission = read_table(existing_file(path, "submission file"))
    if "y_pred" not in submission.columns:
        raise UsageError(f"{path}: expected the columns video_name,y_pred; it has {','.join(submission.columns)}")
    return submission[["video_name", "y_pred"]]


def merge_scores(submission: pd.DataFrame, predictions: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """A submission with our scores filled in, its own value kept where we have none; and how many values are ours.

    Args:
        submission: what `read_submission` returned.
        predictions: with `video_name` and `score` (NaN unscored).
    """
    scores = predictions.dropna(subset="score").set_index("video_name")["score"]
    ours = submission["video_name"].map(scores)
    merged = submission.assign(y_pred=ours.map("{:.9g}".format).where(ours.notna(), submission["y_pred"]))
    return merged, int(ours.notna().sum())
