"""What the voice expert is fitted on, and how: windows of real voices against pseudo-fakes and synthesisers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataset.clips import ClipTable
from dataset.pseudo_fakes.bank import REAL, SYNTHETIC, BankConfig
from dataset.voice_bank import Use, VoiceRows, VoiceTask, load_voices
from dataset.workers import default_workers
from engine.config import RunConfig
from utils.errors import UsageError, WorkError
from utils.features.store import files_below

log = logging.getLogger(__name__)

SYNTHETIC_SHARE = 0.3
"""Weight of the synthesisers' utterances among all forged voices."""

NO_FOLD = -1
"""Fold of training rows that belong to no clip: they are never held out."""

LEAST_RECORDINGS = 2


@dataclass(frozen=True)
class VoiceMaterial:
    """Windows of the labelled clips, and training rows.

    Attributes:
        windows: per labelled clip (W, D) float32; W = 0 where it has no sound.
        fold_of_clip: (clips,) fold of each labelled clip.
        rows: (N, D) float32.
        kinds: (N,) `real`, `synthetic` or a pseudo-fake family.
        fold_of_row: (N,) the fold of the clip that a row was made of, or `NO_FOLD`.
        group_of_row: (N,) the group of that clip.
    """

    windows: list[np.ndarray]
    fold_of_clip: np.ndarray
    rows: np.ndarray
    kinds: np.ndarray
    fold_of_row: np.ndarray
    group_of_row: np.ndarray

    @property
    def is_fake(self) -> np.ndarray:
        """(N,) bool: which rows are forged or synthetic voices."""
        return self.kinds != REAL

    @property
    def weights(self) -> np.ndarray:
        """(N,): both classes weigh the same, and a group with many rows weighs less for each of them."""
        synthetic = self.kinds == SYNTHETIC
        keys = np.array([f"{group} {fake}" for group, fake in zip(self.group_of_row, self.is_fake, strict=True)])
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        weights = 1 / np.sqrt(counts[inverse])
        share = SYNTHETIC_SHARE if synthetic.any() else 0.0
        for chosen, total in (
            (~self.is_fake, 0.5),
            (self.is_fake & ~synthetic, 0.5 * (1 - share)),
            (synthetic, 0.5 * share),
        ):
            if chosen.any():
                weights[chosen] *= total / weights[chosen].sum()
        return weights * len(weights)


def gather_voices(
    clips: ClipTable,
    folds: np.ndarray,
    groups: np.ndarray,
    config: RunConfig,
    *,
    cache: Path,
    synthetic_voices: Path | None,
) -> VoiceMaterial:
    """Describe the labelled clips and make training rows of the real ones.

    Args:
        clips: labelled clips; only those with target 0 are trained on.
        folds: (clips,) fold of each.
        groups: (clips,) group of each, for the weights.
        config: seed, features and extraction limits.
        cache: see `FitOptions`.
        synthetic_voices: see `FitOptions`.

    Raises:
        UsageError: no real clip, or no file in `synthetic_voices`.
        WorkError: fewer than two real recordings can be used.
    """
    targets = clips.labels["target"].to_numpy(float)
    if not (targets == 0).any():
        raise UsageError(
            f"{clips.split.labels} names no real clip (target 0): there is nothing to make pseudo-fakes of"
        )

    def task(name: str, path: Path, use: Use) -> VoiceTask:
        return VoiceTask(name, path, use, config.features, BankConfig(), config.seed, cache)

    tasks = [
        task(name, clips.split.video_path(name), "scored" if target else "real")
        for name, target in zip(clips.names, targets, strict=True)
    ]
    tasks += [task(f"synthetic/{path.name}", path, "synthetic") for path in utterances(synthetic_voices)]
    workers = min(config.extraction.workers or default_workers(), len(tasks))
    found = [rows for _, rows in load_voices(tasks, workers=workers, timeout_s=config.extraction.timeout_s)]
    return assemble(found, folds, groups)


def utterances(folder: Path | None) -> list[Path]:
    """The files of a folder of synthetic voices in path order.

    Raises:
        UsageError: it is no folder, or empty.
    """
    if folder is None:
        return []
    if not folder.is_dir():
        raise UsageError(f"--synthetic_voices is not a folder: {folder}")
    names = sorted(name for name in files_below(folder) if not Path(name).name.startswith("."))
    if not names:
        raise UsageError(f"--synthetic_voices {folder}: no file in it")
    return [folder / name for name in names]


def assemble(found: list[VoiceRows | None], folds: np.ndarray, groups: np.ndarray) -> VoiceMaterial:
    """Put the rows of labelled clips (the first ones) and of utterances together.

    Raises:
        WorkError: fewer than two real recordings have rows.
    """
    windows, parts = [], []
    for number, recording in enumerate(found):
        is_clip = number < len(folds)
        if is_clip:
            windows.append(np.zeros((0, 0), np.float32) if recording is None else recording.windows)
        if recording is not None and len(recording.rows):
            fold, group = (folds[number], groups[number]) if is_clip else (NO_FOLD, SYNTHETIC)
            count = len(recording.rows)
            parts.append((recording.rows, recording.kinds, np.full(count, fold), np.full(count, group, object)))
    n_real = sum(part[1][0] == REAL for part in parts)
    if n_real < LEAST_RECORDINGS:
        raise WorkError(f"{n_real} real recordings can be used; at least {LEAST_RECORDINGS} are needed")
    rows, kinds, fold_of_row, group_of_row = (np.concatenate(column) for column in zip(*parts, strict=True))
    log.info("%d training rows of %d real recordings; %d synthetic", len(rows), n_real, (kinds == SYNTHETIC).sum())
    return VoiceMaterial(windows, folds, rows, kinds, fold_of_row, group_of_row)


def fit_voice(expert: Any, material: VoiceMaterial, *, seed: int, without_fold: int | None = None) -> None:
    """Fit a voice expert on the training rows, those of one fold left out if it is named."""
    kept = np.ones(len(material.rows), bool) if without_fold is None else material.fold_of_row != without_fold
    part = VoiceMaterial(
        [], material.fold_of_clip, material.rows[kept], material.kinds[kept], material.fold_of_row[kept],
        material.group_of_row[kept],
    )  # fmt: skip
    if part.is_fake.all():
        raise WorkError("every real recording lies in one fold: nothing would be left to fit on without it")
    expert.fit(part.rows, part.is_fake.astype(int), part.weights, seed=seed)


@torch.inference_mode()
def mean_log_odds(expert: Any, windows: np.ndarray) -> float:
    """A clip's raw log-odds; NaN where it has no window."""
    if len(windows) == 0:
        return float("nan")
    return float(expert.score_windows(torch.from_numpy(windows)).mean())
