"""Fitting of `av_experts` on real clips and pseudo-fakes.

Labelled fakes are used for calibration and evaluation. They are training data only for the covariance expert, which is off
by default, and for the other experts if `fit.labelled_fakes` is set.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from engine.checkpoint import Checkpoint
from engine.config import RunConfig
from engine.cross_validation import OUT_OF_FOLD
from engine.fitting import (  # noqa: F401  (the import registers their fitters)
    covariance,
    face,
    motion,
    sync,
    synthetic_speech,
    voice,
)
from engine.fitting.base import FITTERS, ExpertFitter, LabelledClips
from engine.fitting.clip_labels import labelled_clips
from engine.fitting.controls import control_table
from engine.fitting.fusion import AUDIO_ONLY, Fusion, combination_table, fuse_out_of_fold
from engine.fitting.out_of_fold import OutOfFoldScores, fit_on_all_clips, score_out_of_fold
from engine.provenance import describe_run
from engine.run_folder import RunFolder, check_output, write_csv
from engine.training_clips import training_hashes
from models import build_model
from models.base import DetectorModel
from models.experts import Expert
from utils.errors import UsageError
from utils.metrics import Calibration, DecisionRule, TargetRates, fit_calibration, roc_auc, summarise
from utils.metrics.threshold_text import describe_thresholds

log = logging.getLogger(__name__)

EXPERTS_TABLE = "experts.csv"


@dataclass(frozen=True)
class FittedFusion:
    """Result of calibrating and fusing the experts of one seed.

    Attributes:
        fusion: the calibration of each expert.
        calibration: calibration and thresholds of the fused logit.
        predictions: the labelled clips, scored out of fold.
        metrics: metrics of the predictions.
    """

    fusion: Fusion
    calibration: Calibration
    predictions: pd.DataFrame
    metrics: dict[str, Any]


def fit_experts(config: RunConfig, *, seeds: int = 1, controls: bool = False, checkpoint: bool = True) -> RunFolder:
    """Fit the experts on the real clips of the training labels, calibrate them out of fold, and write a checkpoint.

    Labelled fakes are used for calibration, threshold and metrics, and for training if the config enables it. Without
    labelled fakes, held-out pseudo-fakes are used instead.

    Args:
        config: `model`, `trainset`'s labels and clips, `split.folds`, `extraction`, `fit`, `eval` and `seed` are used.
        seeds: number of seeds for the out-of-fold metrics; the checkpoint contains the experts of the first seed.
        controls: add control classifiers (duration, face size, ...) to the table of experts.
        checkpoint: also fit the experts on all clips and write a checkpoint; otherwise compute out-of-fold metrics only.

    Raises:
        UsageError: the model is trained by `main.py` instead, or the labels have no real clip.
        WorkError: too few clips could be read, or a fit failed.
    """
    check_output(Path(config.output_dir) / EXPERTS_TABLE, "output_dir")
    check_output(config.fit.cache_dir / "fits" / EXPERTS_TABLE, "fit.cache (--cache)")
    clips = labelled_clips(config)
    fitters = gather(clips, config)
    config = with_experts(config, list(fitters))
    folder = RunFolder.create(config.output_dir, config.name)
    with folder.logging():
        fit_into(folder, fitters, clips, config, seeds, controls, checkpoint)
    return folder


def fit_into(
    folder: RunFolder,
    fitters: dict[str, ExpertFitter],
    clips: LabelledClips,
    config: RunConfig,
    seeds: int,
    controls: bool,
    checkpoint: bool,
) -> None:
    """Fit the experts and write the run's files; the arguments are those of `fit_experts`."""
    folder.write_config(config.to_yaml())

    by_seed = score_out_of_fold(fitters, clips, config, seeds=seeds)
    fits = [fuse(clips, scores, config) for scores in by_seed]
    tables = [combination_table(clips, by_seed, config)]
    if controls:
        tables.append(control_table(clips, config))
    write_csv(pd.concat(tables, ignore_index=True), folder.path / EXPERTS_TABLE)
    if checkpoint:
        finished(fits[0], fit_on_all_clips(fitters, clips, config), clips, config).save(folder.best)
    folder.write_predictions(fits[0].predictions)
    folder.write_metrics({**fits[0].metrics, "seeds": [fit.metrics for fit in fits]})
    log.info("%s", headline([fit.metrics for fit in fits]))
    log.info("thresholds: %s", " ".join(describe_thresholds(fits[0].calibration).split()))
    log.info("%s", f"checkpoint: {folder.best}" if checkpoint else "no checkpoint")


def gather(clips: LabelledClips, config: RunConfig) -> dict[str, ExpertFitter]:
    """Return a fitter for every expert of the config that has enough training data.

    Raises:
        UsageError: the model has no experts, or none has enough training data.
    """
    model = build_model(config.model, config.features)
    if not model.fitted_by:
        raise UsageError(f"model.name={config.model['name']} is trained by main.py; this command fits av_experts")
    for name in config.model["experts"]:
        FITTERS.get(name).built_class.check(config)
    fitters = {}
    for name in config.model["experts"]:
        fitter = FITTERS.get(name).built_class.gather(clips, config)
        if fitter is not None:
            fitters[name] = fitter
    if not fitters:
        raise UsageError(f"none of the experts {', '.join(config.model['experts'])} can be fitted on these clips")
    return fitters


def with_experts(config: RunConfig, names: list[str]) -> RunConfig:
    """Return a copy of the config with only these experts."""
    experts = {name: section for name, section in config.model["experts"].items() if name in names}
    return config.model_copy(update={"model": {**config.model, "experts": experts}})


def fuse(clips: LabelledClips, scores: Mapping[str, OutOfFoldScores], config: RunConfig) -> FittedFusion:
    """Calibrate the experts and their sum on out-of-fold scores.

    Calibration, threshold and main metrics are those of the clips with video, if there are any. An audio-only clip is scored
    by fewer experts, so its logit must not affect the thresholds for clips with video. Its metrics are under `audio_only`.
    """
    bound = config.model["bound"]
    fusion = Fusion.fit(scores, clips.target, clips.groups, bound)
    predictions = fuse_out_of_fold(clips, scores, bound)
    evaluated = clips.evaluated
    known = predictions["logit"].notna().to_numpy() & evaluated
    target, logit = clips.target[known], predictions["logit"].to_numpy(float)[known]
    groups = clips.groups[known]
    on_pseudo_fakes = not target.any()
    if on_pseudo_fakes:
        forged, origin = as_many_as(len(target), *fusion.pseudo_fake_logits(scores), seed=config.seed)
        target, logit = np.concatenate([target, np.ones(len(forged))]), np.concatenate([logit, forged])
        groups = np.concatenate([groups, [f"pseudo-fakes of fold {fold}" for fold in origin]])
        against = roc_auc(target, logit)
        found = against.reason if against.value is None else f"{against.value:.3f}"
        log.info("no labelled fake: %d held-out pseudo-fakes are used instead, AUC %s", len(forged), found)
    rates = TargetRates(config.eval.target_fpr, config.eval.target_fnr)
    calibration = fit_calibration(target, logit, fitted_on=OUT_OF_FOLD, rates=rates, groups=groups, seed=config.seed)
    if calibration.rates is not None and on_pseudo_fakes:
        calibration = replace(calibration, rates=replace(calibration.rates, pseudo_fakes=True))
    if calibration.reason:
        log.warning("calibration and thresholds: %s", calibration.reason)
    predictions.insert(2, "score", calibration.score(predictions["logit"].to_numpy(float)))
    metrics = metrics_of(predictions[evaluated], DecisionRule(calibration, in_sample=calibration.is_fitted), config)
    if not evaluated.all():
        metrics[AUDIO_ONLY] = metrics_of(predictions[~evaluated], DecisionRule(calibration), config)
    if on_pseudo_fakes:
        metrics["pseudo_fakes"] = {"n": len(forged), "auc": against.value}
    return FittedFusion(fusion, calibration, predictions, metrics)


def metrics_of(predictions: pd.DataFrame, rule: DecisionRule, config: RunConfig) -> dict[str, Any]:
    """Return the metrics of clips that were scored out of fold."""
    return summarise(
        predictions,
        split=OUT_OF_FOLD,
        rule=rule,
        initialisation="fitted",
        bootstrap=config.eval.bootstrap,
        seed=config.seed,
    )


def as_many_as(count: int, logits: np.ndarray, folds: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw as many pseudo-fakes as there are real clips, so the sample size does not act as a class prior."""
    chosen = np.random.default_rng(seed).permutation(len(logits))[:count]
    return logits[chosen], folds[chosen]


def finished(
    fit: FittedFusion, weights: Mapping[str, Mapping[str, Any]], clips: LabelledClips, config: RunConfig
) -> Checkpoint:
    """Return the checkpoint of fitted experts. Local paths are replaced by the defaults."""
    model = build_model(config.model, config.features)
    load_experts(model, weights, fit.fusion)
    model.initialisation = "fitted on real clips and pseudo-fakes"
    own = RunConfig()
    fit_section = config.fit.model_copy(update={"cache": own.fit.cache, "synthetic_voices": None})
    paths = {"extract_path": own.extract_path, "output_dir": own.output_dir, "split": own.split, "fit": fit_section}
    plain = config.model_copy(update=paths)
    stored = ("n", "coverage", "auc", "same_source", "macro_auc")
    return Checkpoint(
        model=config.model,
        features=config.features,
        weights=model.state_dict(),
        calibration=fit.calibration,
        run_config=plain.model_dump(mode="json"),
        epoch=1,
        metrics={OUT_OF_FOLD: {key: fit.metrics[key] for key in stored if key in fit.metrics}},
        provenance=describe_run(config.seed, model, {"trainset": clips.table}),
        trained_on=training_hashes(clips.table),
    )


def load_experts(model: DetectorModel, weights: Mapping[str, Mapping[str, Any]], fusion: Fusion) -> None:
    """Load fitted weights and calibrations into a detector made of experts."""
    experts = model.get_submodule("experts")
    for name, state in weights.items():
        expert = cast(Expert, experts.get_submodule(name))
        expert.load_state_dict(state)
        expert.calibrate(*fusion.scales[name])


def headline(metrics: list[dict[str, Any]]) -> str:
    """Return a one-line summary: the AUC over all clips and within sources, for every seed."""

    def aucs(part: list[dict[str, Any]]) -> str:
        figures = []
        for name in ("same_source", "auc"):
            values = [one[name]["value"] for one in part]
            figures.append(" ".join("none" if value is None else f"{value:.3f}" for value in values))
        return f"same-source AUC {figures[0]}; AUC {figures[1]}"

    line = f"out of fold: {aucs(metrics)}; coverage {metrics[0]['coverage']:.3f}"
    if AUDIO_ONLY in metrics[0]:
        line += f"; {metrics[0][AUDIO_ONLY]['n']} clips without video: {aucs([one[AUDIO_ONLY] for one in metrics])}"
    return line
