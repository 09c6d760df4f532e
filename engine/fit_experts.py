"""Fitting of `av_experts` from real clips and pseudo-fakes: no fake is trained on, those with labels only calibrate."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from dataset.clips import ClipTable, VideoFeatures
from dataset.folds import assign_groups, column_values
from dataset.labels import read_labels
from dataset.pseudo_fakes.bank import SYNTHETIC
from engine.checkpoint import Checkpoint
from engine.config import RunConfig
from engine.fit_voice import VoiceMaterial, fit_voice, gather_voices, mean_log_odds
from engine.results import describe_run
from engine.run import split_of
from engine.run_folder import RunFolder
from engine.scoring import EVIDENCE_PREFIX, MISSING_MODALITY
from models import build_model
from models.base import Detector
from utils.errors import UsageError
from utils.metrics import Calibration, fit_calibration, roc_auc, summarise
from utils.metrics.calibration import fit_platt

log = logging.getLogger(__name__)

FOLDS = 5
GROUPING_COLUMNS = ("group", "source", "identity", "person")

OUT_OF_FOLD = "out_of_fold"
"""Name of the figures: each clip is judged by experts that were fitted without its fold."""


@dataclass(frozen=True)
class FitOptions:
    """What a fit needs beside the run's configuration.

    Attributes:
        cache: folder of the described recordings; what is there is not made again.
        synthetic_voices: folder of utterances of speech synthesisers (any format that libav reads), or `None`.
        seeds: how many seeds the out-of-fold figures are made with; the first one's experts are kept.
    """

    cache: Path
    synthetic_voices: Path | None = None
    seeds: int = 1


def fit_experts(config: RunConfig, options: FitOptions) -> RunFolder:
    """Fit the experts on the real clips of the training labels, calibrate them out of fold, and write a checkpoint.

    Labelled fakes, where there are any, take part in calibration, threshold and figures only; without them pseudo-fakes that
    the judging forest has not seen stand in.

    Args:
        config: `model`, `trainset`'s labels and clips, `extraction`, `eval` and `seed` are used.
        options: see there.

    Raises:
        UsageError: the model is not one to be fitted, or the labels name no real clip.
        WorkError: too few recordings could be read.
    """
    split = split_of(config, "trainset", config.features)
    labels = read_labels(split.labels, need_targets=True)
    clips = ClipTable(split, labels, VideoFeatures(split, config.extraction.max_frames))
    model = build_model(config.model, config.features)
    expert = the_voice_expert(model)
    groups = group_names(labels)
    material = gather_voices(
        clips,
        fold_numbers(labels, groups),
        groups,
        config,
        cache=options.cache,
        synthetic_voices=options.synthetic_voices,
    )
    folder = RunFolder.create(config.output_dir, config.name)
    folder.log_to_file()
    folder.write_config(config.to_yaml())

    judged = [judge_out_of_fold(config, material, config.seed + number) for number in range(options.seeds)]
    slope, bias = calibrate_expert(labels, material, *judged[0])
    predictions = [calibrated(labels, raw, slope, bias, config) for raw, _ in judged]
    calibration = calibrate_scores(predictions[0], labels, judged[0], slope, bias, config)
    metrics = [summary_of(table, calibration, config) for table in predictions]
    fit_voice(expert, material, seed=config.seed)
    expert.calibrate(slope, bias)
    model.initialisation = "fitted on real clips and pseudo-fakes"
    checkpoint = finished(model, config, clips, calibration, metrics[0], material)
    checkpoint.save(folder.best)
    folder.write_predictions(rescored(predictions[0], calibration))
    folder.write_metrics({**metrics[0], "seeds": metrics})
    log.info("%s", headline(metrics))
    log.info("checkpoint: %s (threshold %.3f: %s)", folder.best, calibration.threshold, calibration.threshold_rule)
    return folder


def group_names(labels: pd.DataFrame) -> np.ndarray:
    """(clips,) what relates clips: the first of the columns `GROUPING_COLUMNS` that the labels have, else their names."""
    for column in GROUPING_COLUMNS:
        if column in labels:
            values, names = column_values(labels, column), labels["video_name"].to_numpy(object)
            return np.where(values == "", names, values).astype(str)
    return labels["video_name"].to_numpy(str)


def fold_numbers(labels: pd.DataFrame, groups: np.ndarray) -> np.ndarray:
    """(clips,) fold of each clip: the column `fold` where the labels have one, else whole groups dealt out in `FOLDS`."""
    if "fold" in labels:
        return pd.factorize(column_values(labels, "fold"))[0]
    numbers = pd.factorize(groups)[0]
    count = min(FOLDS, numbers.max() + 1)
    return assign_groups(labels, numbers, [1 / count] * count)


def the_voice_expert(model: Detector) -> Any:
    """The voice expert of a detector that is made of experts.

    Raises:
        UsageError: the detector has none.
    """
    experts = dict(model.named_children()).get("experts")
    if experts is None or "voice" not in dict(experts.named_children()):
        raise UsageError(
            "this command fits the voice expert; set model.name=av_experts and leave model.experts.voice on"
        )
    return experts.get_submodule("voice")


def judge_out_of_fold(config: RunConfig, material: VoiceMaterial, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw log-odds by experts that were fitted without the fold.

    Returns:
        (clips,) of the labelled clips, NaN where one has no voice; and (rows,) of the training rows, NaN for synthesisers.
    """
    clips, rows = np.full(len(material.windows), np.nan), np.full(len(material.rows), np.nan)
    for fold in np.unique(material.fold_of_clip):
        expert = the_voice_expert(build_model(config.model, config.features))
        fit_voice(expert, material, seed=seed, without_fold=fold)
        for clip in np.flatnonzero(material.fold_of_clip == fold):
            clips[clip] = mean_log_odds(expert, material.windows[clip])
        held = material.fold_of_row == fold
        with torch.inference_mode():
            rows[held] = expert.score_windows(torch.from_numpy(material.rows[held])).numpy()
    return clips, rows


def calibrate_expert(
    labels: pd.DataFrame, material: VoiceMaterial, raw: np.ndarray, raw_rows: np.ndarray
) -> tuple[float, float]:
    """Slope and bias from raw log-odds to calibrated ones; labelled fakes decide, else pseudo-fakes do."""
    target, score = with_stand_ins(labels, material, raw, raw_rows)
    if (roc_auc(target, score).value or 0.0) <= 0.5:
        log.warning("the fakes are not ranked above the real clips: the expert stays uncalibrated")
        return 1.0, 0.0
    return fit_platt(target, score)


def with_stand_ins(
    labels: pd.DataFrame, material: VoiceMaterial, raw: np.ndarray, raw_rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Targets and log-odds of the judged clips, with pseudo-fakes where the labels name no fake."""
    known = ~np.isnan(raw)
    target, score = labels["target"].to_numpy(float)[known], raw[known]
    if not target.any():
        forged = material.is_fake & ~np.isnan(raw_rows)
        target = np.concatenate([target, np.ones(forged.sum())])
        score = np.concatenate([score, raw_rows[forged]])
    return target, score


def calibrated(labels: pd.DataFrame, raw: np.ndarray, slope: float, bias: float, config: RunConfig) -> pd.DataFrame:
    """The predictions table of the labelled clips, without scores yet: see `rescored`."""
    logit = bounded(slope * raw + bias, config)
    known = ~np.isnan(logit)
    return labels.assign(
        logit=logit,
        status=np.where(known, "ok", "partial"),
        reason=np.where(known, "", MISSING_MODALITY),
        **{f"{EVIDENCE_PREFIX}voice": logit},
    )


def bounded(logit: np.ndarray, config: RunConfig) -> np.ndarray:
    """Log-odds as the fusion bounds them."""
    return np.clip(logit, -config.model["bound"], config.model["bound"])


def calibrate_scores(
    predictions: pd.DataFrame,
    labels: pd.DataFrame,
    judged: tuple[np.ndarray, np.ndarray],
    slope: float,
    bias: float,
    config: RunConfig,
) -> Calibration:
    """The fused logit's calibration and operating threshold.

    Without labelled fakes the bounded log-odds are the score as they are, at the threshold that the real clips allow.
    """
    known = predictions["logit"].notna()
    target, logit = predictions["target"].to_numpy(float)[known], predictions["logit"].to_numpy(float)[known]
    groups = group_names(labels)[known.to_numpy()]
    if not target.any():
        forged = bounded(slope * judged[1][~np.isnan(judged[1])] + bias, config)
        target, logit = np.concatenate([target, np.ones(len(forged))]), np.concatenate([logit, forged])
        groups = np.concatenate([groups, np.full(len(forged), "pseudo-fakes")])
    return fit_calibration(target, logit, fitted_on=OUT_OF_FOLD, target_fpr=config.eval.target_fpr, groups=groups)


def rescored(predictions: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """The predictions with their score after the target."""
    table = predictions.copy()
    table.insert(2, "score", calibration.score(table["logit"].to_numpy(float)))
    return table


def summary_of(predictions: pd.DataFrame, calibration: Calibration, config: RunConfig) -> dict[str, Any]:
    """Out-of-fold metrics."""
    return summarise(
        rescored(predictions, calibration),
        split=OUT_OF_FOLD,
        calibration=calibration,
        in_sample=calibration.is_fitted,
        initialisation="fitted",
        bootstrap=config.eval.bootstrap,
        seed=config.seed,
    )


def finished(
    model: Detector,
    config: RunConfig,
    clips: ClipTable,
    calibration: Calibration,
    metrics: dict[str, Any],
    material: VoiceMaterial,
) -> Checkpoint:
    """The checkpoint of fitted experts. Where the data lay is nobody's business: the paths are the defaults'."""
    own = RunConfig()
    plain = config.model_copy(update={"extract_path": own.extract_path, "output_dir": own.output_dir})
    recordings = {"training_rows": len(material.rows), "synthetic_rows": int((material.kinds == SYNTHETIC).sum())}
    return Checkpoint(
        model=config.model,
        features=config.features,
        weights=model.state_dict(),
        calibration=calibration,
        run_config=plain.model_dump(mode="json"),
        epoch=1,
        metrics={OUT_OF_FOLD: {key: metrics[key] for key in ("n", "coverage", "auc", "same_source")}},
        provenance={**describe_run(config, model, {"trainset": clips}), **recordings},
    )


def headline(metrics: list[dict[str, Any]]) -> str:
    """AUC over all clips and within sources, for every seed."""

    def each(name: str) -> str:
        values = [one[name]["value"] for one in metrics]
        return " ".join("none" if value is None else f"{value:.3f}" for value in values)

    coverage = metrics[0]["coverage"]
    return f"out of fold: same-source AUC {each('same_source')}; AUC {each('auc')}; coverage {coverage:.3f}"
