"""Out-of-fold scores: for each fold, each expert is fitted on the other folds and scores this fold.

Fits run in worker processes, and their results are stored in the training cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.config import RunConfig
from engine.fitting.base import ExpertFitter, LabelledClips, cache_runner
from models.experts import EXPERTS, Expert
from utils.cache import compute_missing, entry_key
from utils.errors import WorkError
from utils.files import atomic_path

FIT_VERSION = 2
"""Increase it when the same examples and seed would give a different expert, or when the file layout changes."""

LONGEST_FIT_S = 7200.0


@dataclass(frozen=True)
class FitTask:
    """One fit of one expert.

    Attributes:
        expert: the expert's name.
        section: its config.
        fitter: the expert's fitter.
        seed: seed of the fit.
        fold: the fold that is left out and scored; `None` to fit on all real clips.
        clips: (m,) indices of the fold's clips.
        cache_path: file of the result: the scores of the fold's clips and pseudo-fakes, or the fitted weights.
    """

    expert: str
    section: dict[str, Any]
    fitter: ExpertFitter
    seed: int
    fold: int | None
    clips: np.ndarray
    cache_path: Path

    @property
    def name(self) -> str:
        """The task's name in log lines."""
        return f"{self.expert}, seed {self.seed}, " + (
            "all clips" if self.fold is None else f"without fold {self.fold}"
        )


@dataclass(frozen=True)
class OutOfFoldScores:
    """Scores of one expert for clips that it was not fitted on.

    Attributes:
        raw: (n,) raw log-odds of the labelled clips, NaN where the expert's mask is false.
        pseudo_fakes: (m,) raw log-odds of held-out pseudo-fakes.
        pseudo_fake_folds: (m,) the folds of the real clips that they were made from.
        calibrates_on_pseudo_fakes: see `ExpertFitter`.
    """

    raw: np.ndarray
    pseudo_fakes: np.ndarray
    pseudo_fake_folds: np.ndarray
    calibrates_on_pseudo_fakes: bool = False

    def without(self, held: np.ndarray, fold: int) -> OutOfFoldScores:
        """Return the scores of clips and pseudo-fakes outside a fold; `held` (n,) bool marks the fold's clips."""
        outside = self.pseudo_fake_folds != fold
        return replace(
            self,
            raw=self.raw[~held],
            pseudo_fakes=self.pseudo_fakes[outside],
            pseudo_fake_folds=self.pseudo_fake_folds[outside],
        )


def score_out_of_fold(
    fitters: Mapping[str, ExpertFitter], clips: LabelledClips, config: RunConfig, *, seeds: int
) -> list[dict[str, OutOfFoldScores]]:
    """Score every clip with experts that were fitted without its fold.

    Returns:
        A mapping expert -> scores for each seed, starting at `config.seed`.

    Raises:
        WorkError: a fit failed; the reason is logged.
    """
    numbers = range(config.seed, config.seed + seeds)
    tasks = [
        make_task(name, fitter, seed, int(fold), clips, config)
        for seed in numbers
        for name, fitter in fitters.items()
        for fold in np.unique(clips.folds)
    ]
    fit_missing(tasks, config)
    by_seed: list[dict[str, OutOfFoldScores]] = []
    for seed in numbers:
        by_seed.append({})
        for name, fitter in fitters.items():
            own = [task for task in tasks if (task.seed, task.expert) == (seed, name)]
            by_seed[-1][name] = collect(own, len(clips), fitter)
    return by_seed


def collect(tasks: list[FitTask], n_clips: int, fitter: ExpertFitter) -> OutOfFoldScores:
    """Join the scores of all folds of one expert and seed."""
    raw, pseudo_fakes, origin = np.full(n_clips, np.nan), [], []
    for task in tasks:
        with np.load(task.cache_path, allow_pickle=False) as stored:
            raw[task.clips] = stored["raw"]
            pseudo_fakes.append(stored["pseudo_fakes"])
            origin.append(np.full(len(stored["pseudo_fakes"]), task.fold))
    return OutOfFoldScores(raw, np.concatenate(pseudo_fakes), np.concatenate(origin), fitter.calibrates_on_pseudo_fakes)


def fit_on_all_clips(
    fitters: Mapping[str, ExpertFitter], clips: LabelledClips, config: RunConfig
) -> dict[str, dict[str, torch.Tensor]]:
    """Return the weights of every expert, fitted on all real clips with the first seed.

    Raises:
        WorkError: a fit failed; the reason is logged.
    """
    tasks = [make_task(name, fitter, config.seed, None, clips, config) for name, fitter in fitters.items()]
    fit_missing(tasks, config)
    return {task.expert: torch.load(task.cache_path, weights_only=True) for task in tasks}


def make_task(
    name: str, fitter: ExpertFitter, seed: int, fold: int | None, clips: LabelledClips, config: RunConfig
) -> FitTask:
    """Return the task of one fit."""
    section = config.model["experts"][name]
    members = np.arange(0) if fold is None else np.flatnonzero(clips.folds == fold)
    key = entry_key(FIT_VERSION, name, section, fitter.key, seed, fold, members.tolist())
    return FitTask(name, section, fitter, seed, fold, members, config.fit.cache_dir / "fits" / f"{key}.bin")


def fit_missing(tasks: list[FitTask], config: RunConfig) -> None:
    """Run the fits whose results are not cached yet.

    Raises:
        WorkError: a fit failed.
    """
    failures = compute_missing(tasks, store_fit, cache_runner(config, fit_timeout_s=LONGEST_FIT_S), step="fits")
    failed = [f"{task.name}: {failures[task.cache_path]}" for task in tasks if task.cache_path in failures]
    if failed:
        raise WorkError(f"{len(failed)} of {len(tasks)} fits failed ({failed[0]})")


def store_fit(task: FitTask) -> str:
    """Fit, score the held-out fold, and store the result; return the reason of a failure, or an empty string."""
    expert = new_expert(task.expert, task.section)
    try:
        task.fitter.fit(expert, seed=task.seed, without_fold=task.fold)
    except WorkError as error:
        return str(error)
    expert.eval()
    with atomic_path(task.cache_path) as temporary, open(temporary, "wb") as file:
        if task.fold is None:
            torch.save(expert.state_dict(), file)
        else:
            raw = task.fitter.score(expert, task.clips)
            np.savez(file, raw=raw, pseudo_fakes=task.fitter.score_pseudo_fakes(expert, task.fold))
    return ""


def new_expert(name: str, section: dict[str, Any]) -> Expert:
    """Build an unfitted expert."""
    entry = EXPERTS.get(name)
    return entry.built_class(entry.config_class.model_validate(section))
