"""Control classifiers that use only facts such as duration or loudness, not traces of forgery.

They are trained on the labelled clips of the other folds, fakes included, and evaluated on the experts' folds. An expert's
metrics are meaningful only if they exceed those of the controls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from dataset.workers import run_in_workers, worker_count
from engine.audit.measure import Measurements, MeasureTask, measure_clip
from engine.audit.probe_evaluation import CLASSIFIERS
from engine.audit.probes import PROBES, fact_matrix
from engine.audit.random_encoder import random_features
from engine.config import RunConfig
from engine.fitting.base import LabelledClips
from utils.features.face.window import clip_faces
from utils.media.errors import MediaError
from utils.metrics import summarise, summary_row

ALL_CONTAINER_FACTS = PROBES[0]
SINGLE_FACTS = ("duration", "face size", "sharpness", "loudness")
PREFIX = "control: "


@dataclass(frozen=True)
class ControlFacts:
    """Inputs of the controls for one clip.

    Attributes:
        single: one number for each of `SINGLE_FACTS`, NaN where it is unknown.
        measured: inputs of the audit's probes.
    """

    single: dict[str, float]
    measured: Measurements


def control_table(clips: LabelledClips, config: RunConfig) -> pd.DataFrame:
    """Return one row per control, with the columns of `fusion.combination_table`.

    Clips for which a control's fact is unknown are not scored by that control.
    """
    facts = gather_facts(clips, config)
    inputs: dict[str, list[np.ndarray]] = {
        name: [np.array([[clip.single[name]] for clip in facts])] for name in SINGLE_FACTS
    }
    rows = [ALL_CONTAINER_FACTS.facts(clip.measured) for clip in facts]
    inputs["container facts"] = [at_known(fact_matrix([row for row in rows if row]), [bool(row) for row in rows])]
    mels = [clip.measured.mel for clip in facts]
    known = [mel is not None for mel in mels]
    if any(known):
        encoded = random_features(np.stack([mel for mel in mels if mel is not None]), config.seed)
        inputs["random encoder on the mel"] = [at_known(matrix, known) for matrix in encoded]
    rng = np.random.default_rng(config.seed)
    table = [row_of("random numbers", rng.normal(size=len(clips)), clips, config)]
    for name, matrices in inputs.items():
        logits = [out_of_fold(name, matrix, clips, config.seed) for matrix in matrices]
        table.append(row_of(name, np.mean(logits, axis=0), clips, config))
    return pd.DataFrame(table)


def gather_facts(clips: LabelledClips, config: RunConfig) -> list[ControlFacts]:
    """Measure every clip in worker processes; a clip that cannot be measured has no facts."""
    paths = [clips.table.split.video_path(name) for name in clips.table.names]
    workers = worker_count(config.extraction.workers, len(paths))
    nothing = ControlFacts(dict.fromkeys(SINGLE_FACTS, math.nan), Measurements(reason="unreadable"))
    timeout_s, memory_gb = config.extraction.timeout_s, config.extraction.memory_gb
    results = run_in_workers(measure, paths, workers=workers, timeout_s=timeout_s, memory_gb=memory_gb)
    return [found or nothing for _, found, _ in results]


def measure(path: Path) -> ControlFacts:
    """Measure one clip."""
    measured = measure_clip(MeasureTask(path))
    try:
        face = clip_faces(path)
    except MediaError:
        face = None
    single = {
        "duration": number_of(measured.container.get("duration", {}), "duration_s"),
        "face size": math.nan if face is None else face.eye_px,
        "sharpness": math.nan if face is None else sharpness(face.crops),
        "loudness": number_of(measured.audio.get("loudness", {}), "rms_db"),
    }
    return ControlFacts(single, measured)


def number_of(facts: Mapping[str, Any], name: str) -> float:
    """Return a numeric fact, or NaN where it is absent."""
    return float(facts.get(name, math.nan))


def sharpness(crops: np.ndarray) -> float:
    """Return the mean variance of the Laplacian of face crops (T, H, W, 3), in squared grey levels, as log(1 + x)."""
    grey = (cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops)
    return math.log1p(float(np.mean([cv2.Laplacian(image, cv2.CV_64F).var() for image in grey])))


def at_known(matrix: np.ndarray, known: list[bool]) -> np.ndarray:
    """Expand a matrix of the known clips to all clips, with NaN in the rows of the others."""
    full = np.full((len(known), matrix.shape[1]), np.nan)
    full[np.flatnonzero(known)] = matrix
    return full


def out_of_fold(name: str, matrix: np.ndarray, clips: LabelledClips, seed: int) -> np.ndarray:
    """Return logits (n,) of a classifier trained on the other folds; NaN where a clip has no facts."""
    logits = np.full(len(clips), np.nan)
    known = ~np.isnan(matrix).any(axis=1)
    for fold in np.unique(clips.folds):
        rest, held = known & (clips.folds != fold), known & (clips.folds == fold)
        if not held.any() or len(np.unique(clips.target[rest])) < 2:
            continue
        model = model_for(name, seed).fit(matrix[rest], clips.target[rest])
        logits[held] = model.decision_function(matrix[held])
    return logits


def model_for(name: str, seed: int) -> Any:
    """Return the classifier of a control.

    Boosted trees for container facts, a regularised linear head for the encoder, logistic regression for one number.
    """
    if name == "container facts":
        return HistGradientBoostingClassifier(max_depth=3, max_iter=100, min_samples_leaf=5, random_state=seed)
    return CLASSIFIERS["linear_head" if name.startswith("random encoder") else "logistic"](seed)


def row_of(name: str, logit: np.ndarray, clips: LabelledClips, config: RunConfig) -> dict[str, Any]:
    """Return the metrics of a control."""
    predictions = clips.table.labels.assign(logit=logit, status="ok", reason="")
    metrics = summarise(predictions, split=name, bootstrap=config.eval.bootstrap, seed=config.seed)
    return {"seed": config.seed, "experts": f"{PREFIX}{name}", **summary_row(metrics)}
