"""What the voice expert is fitted on, and how: windows of real voices against pseudo-fakes and synthesisers."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dataset.pseudo_fakes.bank import REAL, SYNTHETIC, BankConfig
from dataset.voice_bank import Use, VoiceRows, VoiceTask, load_voices
from dataset.workers import worker_count
from engine.config import RunConfig
from engine.fitting.base import ExpertFitter, LabelledClips
from models.experts.windows import WindowExpert
from utils.errors import UsageError, WorkError
from utils.features.config import FeatureConfig
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

    def digest(self) -> str:
        """16 hex digits that differ whenever the material does."""
        content = hashlib.sha256(self.rows.tobytes())
        for array in (self.fold_of_clip, self.fold_of_row, *self.windows):
            content.update(array.tobytes())
        for names in (self.kinds, self.group_of_row):
            content.update("\n".join(names.tolist()).encode())
        return content.hexdigest()[:16]


def balanced_weights(kinds: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Weights (N,) of training rows of these kinds and groups.

    Both classes weigh the same, synthesisers `SYNTHETIC_SHARE` of the fakes; a group with many rows weighs less for each.
    """
    is_fake, synthetic = kinds != REAL, kinds == SYNTHETIC
    keys = np.array([f"{group} {fake}" for group, fake in zip(groups, is_fake, strict=True)])
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[inverse])
    share = SYNTHETIC_SHARE if synthetic.any() else 0.0
    for chosen, total in (
        (~is_fake, 0.5),
        (is_fake & ~synthetic, 0.5 * (1 - share)),
        (synthetic, 0.5 * share),
    ):
        if chosen.any():
            weights[chosen] *= total / weights[chosen].sum()
    return weights * len(weights)


class VoiceFitter(ExpertFitter[WindowExpert]):
    """Fits the voice expert, and whatever else judges voices window by window."""

    def __init__(self, material: VoiceMaterial) -> None:
        """Fit on this material."""
        self.material = material
        self.key = material.digest()

    @classmethod
    def encoder(cls, features: FeatureConfig) -> str | None:
        """The speech encoder that describes windows; `None` for the voice features."""
        del features
        return None

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> VoiceFitter | None:
        """See `ExpertFitter.gather`.

        Raises:
            UsageError: no file in `synthetic_voices`.
        """

        def task(name: str, path: Path, use: Use) -> VoiceTask:
            return VoiceTask(
                name, path, use, config.features, bank, config.fit.bank_seed, config.fit.cache_dir, encoder
            )

        encoder, bank = cls.encoder(config.features), BankConfig()
        uses: list[Use] = ["scored" if target else "real" for target in clips.target]
        if config.fit.labelled_fakes:
            for number in np.flatnonzero(clips.teaching_fakes("audio")):
                uses[number] = "synthetic"
        tasks = [
            task(name, clips.table.split.video_path(name), use)
            for name, use in zip(clips.table.names, uses, strict=True)
        ]
        tasks += [task(f"synthetic/{path.name}", path, "synthetic") for path in utterances(config.fit.synthetic_voices)]
        workers = worker_count(config.extraction.workers, len(tasks))
        found = [rows for _, rows in load_voices(tasks, workers=workers, timeout_s=config.extraction.timeout_s)]
        material = assemble(found, clips.folds, clips.groups)
        return None if material is None else cls(material)

    def fit(self, expert: WindowExpert, *, seed: int, without_fold: int | None = None) -> None:
        """See `ExpertFitter.fit`."""
        material = self.material
        kept = np.ones(len(material.rows), bool) if without_fold is None else material.fold_of_row != without_fold
        is_fake = material.is_fake[kept]
        if is_fake.all():
            raise WorkError("every real recording lies in one fold: nothing would be left to fit on without it")
        weights = balanced_weights(material.kinds[kept], material.group_of_row[kept])
        expert.fit(material.rows[kept], is_fake.astype(int), weights, seed=seed)

    @torch.inference_mode()
    def judge(self, expert: WindowExpert, clips: np.ndarray) -> np.ndarray:
        """See `ExpertFitter.judge`: the mean over a clip's windows, NaN where it has none."""

        def judged(windows: np.ndarray) -> float:
            return float(expert.score_windows(torch.from_numpy(windows)).mean()) if len(windows) else float("nan")

        return np.array([judged(self.material.windows[clip]) for clip in clips])

    @torch.inference_mode()
    def stand_ins(self, expert: WindowExpert, fold: int) -> np.ndarray:
        """See `ExpertFitter.stand_ins`."""
        held = (self.material.fold_of_row == fold) & self.material.is_fake
        return expert.score_windows(torch.from_numpy(self.material.rows[held])).numpy()


def utterances(folder: str | None) -> list[Path]:
    """The files of a folder of synthetic voices in path order.

    Raises:
        UsageError: it is no folder, or empty.
    """
    if folder is None:
        return []
    place = Path(folder)
    if not place.is_dir():
        raise UsageError(f"--synthetic_voices is not a folder: {place}")
    names = sorted(name for name in files_below(place) if not Path(name).name.startswith("."))
    if not names:
        raise UsageError(f"--synthetic_voices {place}: no file in it")
    return [place / name for name in names]


def assemble(found: list[VoiceRows | None], folds: np.ndarray, groups: np.ndarray) -> VoiceMaterial | None:
    """Put the rows of labelled clips (the first ones) and of utterances together.

    Returns:
        The material; `None`, with a line in the log, when a fold holds nearly all real recordings that can be used.
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
    fold_of_real = np.array([part[2][0] for part in parts if part[1][0] == REAL])
    n_real, fewest = len(fold_of_real), min((fold_of_real != fold).sum() for fold in np.unique(folds))
    if n_real < LEAST_RECORDINGS or fewest == 0:
        log.warning(
            "the voice stays out: %d real recordings can be used, %d without one of the folds; it needs %d",
            n_real,
            fewest,
            LEAST_RECORDINGS,
        )
        return None
    rows, kinds, fold_of_row, group_of_row = (np.concatenate(column) for column in zip(*parts, strict=True))
    log.info("%d training rows of %d real recordings; %d synthetic", len(rows), n_real, (kinds == SYNTHETIC).sum())
    return VoiceMaterial(windows, folds, rows, kinds, fold_of_row, group_of_row)
