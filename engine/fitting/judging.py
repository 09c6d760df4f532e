"""Fit every expert without each fold, and judge that fold: in worker processes, kept on disk so that nothing is done twice."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataset.workers import run_in_workers, worker_count
from engine.config import RunConfig
from engine.fitting.base import ExpertFitter, LabelledClips
from models.experts import EXPERTS, Expert
from utils.errors import WorkError
from utils.files import atomic_path, is_whole_archive

log = logging.getLogger(__name__)

LONGEST_FIT_S = 7200.0


@dataclass(frozen=True)
class FitTask:
    """One fit of one expert.

    Attributes:
        name: the expert.
        section: its config.
        fitter: fits it.
        seed: of the fit.
        fold: the fold that is left out and judged; `None` fits on every real clip.
        clips: (m,) numbers of the fold's clips.
        kept: file of the outcome: what the fold's clips and stand-ins were judged, or the fitted weights.
    """

    name: str
    section: dict[str, Any]
    fitter: ExpertFitter
    seed: int
    fold: int | None
    clips: np.ndarray
    kept: Path


@dataclass(frozen=True)
class Judged:
    """What one expert says of clips that it was not fitted on.

    Attributes:
        raw: (n,) raw log-odds of the labelled clips, NaN where it has no opinion.
        stand_ins: (m,) raw log-odds of held-out pseudo-fakes.
        stand_in_folds: (m,) the folds whose real clips they were made of.
        calibrates_on_stand_ins: see `ExpertFitter`.
    """

    raw: np.ndarray
    stand_ins: np.ndarray
    stand_in_folds: np.ndarray
    calibrates_on_stand_ins: bool = False

    def without(self, held: np.ndarray, fold: int) -> Judged:
        """What it says of clips and stand-ins outside a fold, whose clips `held` (n,) bool marks."""
        kept = self.stand_in_folds != fold
        return replace(
            self, raw=self.raw[~held], stand_ins=self.stand_ins[kept], stand_in_folds=self.stand_in_folds[kept]
        )


def judge_out_of_fold(
    fitters: Mapping[str, ExpertFitter], clips: LabelledClips, config: RunConfig, *, seeds: int
) -> list[dict[str, Judged]]:
    """Judge every clip by experts that were fitted without its fold; one dict of experts per seed, from `config.seed` on.

    Raises:
        WorkError: a fit failed; the log says why.
    """
    numbers = range(config.seed, config.seed + seeds)
    tasks = [
        make_task(name, fitter, seed, int(fold), clips, config)
        for seed in numbers
        for name, fitter in fitters.items()
        for fold in np.unique(clips.folds)
    ]
    run_missing(tasks, config)
    judged: list[dict[str, Judged]] = []
    for seed in numbers:
        judged.append({})
        for name in fitters:
            raw, stand_ins, origin = np.full(len(clips), np.nan), [], []
            for task in (task for task in tasks if (task.seed, task.name) == (seed, name)):
                with np.load(task.kept, allow_pickle=False) as kept:
                    raw[task.clips] = kept["raw"]
                    stand_ins.append(kept["stand_ins"])
                    origin.append(np.full(len(kept["stand_ins"]), task.fold))
            on_stand_ins = fitters[name].calibrates_on_stand_ins
            judged[-1][name] = Judged(raw, np.concatenate(stand_ins), np.concatenate(origin), on_stand_ins)
    return judged


def fit_on_everything(
    fitters: Mapping[str, ExpertFitter], clips: LabelledClips, config: RunConfig
) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of every expert, fitted on all real clips with the first seed.

    Raises:
        WorkError: a fit failed; the log says why.
    """
    tasks = [make_task(name, fitter, config.seed, None, clips, config) for name, fitter in fitters.items()]
    run_missing(tasks, config)
    return {task.name: torch.load(task.kept, weights_only=True) for task in tasks}


def make_task(
    name: str,
    fitter: ExpertFitter,
    seed: int,
    fold: int | None,
    clips: LabelledClips,
    config: RunConfig,
) -> FitTask:
    """The task of one fit; its file has another name whenever the outcome would differ."""
    section = config.model["experts"][name]
    members = np.arange(0) if fold is None else np.flatnonzero(clips.folds == fold)
    recipe = json.dumps([name, section, fitter.key, seed, fold, members.tolist()], sort_keys=True)
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:24]
    return FitTask(name, section, fitter, seed, fold, members, config.fit.cache_dir / "fits" / f"{digest}.bin")


def run_missing(tasks: list[FitTask], config: RunConfig) -> None:
    """Do the tasks whose outcome is not there yet."""
    missing = [task for task in tasks if not is_whole_archive(task.kept)]
    for folder in {task.kept.parent for task in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    workers = worker_count(config.extraction.workers, len(missing))
    failed = []
    for number, (task, outcome, reason) in enumerate(
        run_in_workers(do_fit, missing, workers=workers, timeout_s=LONGEST_FIT_S), start=1
    ):
        what = "on all clips" if task.fold is None else f"without fold {task.fold}"
        log.info("%d of %d fits: %s, seed %d, %s", number, len(missing), task.name, task.seed, what)
        if reason or outcome:
            failed.append(f"{task.name} {what}: {reason or outcome}")
    if failed:
        raise WorkError(f"{len(failed)} of {len(missing)} fits failed ({failed[0]})")


def do_fit(task: FitTask) -> str:
    """Fit, judge, and keep the outcome; returns what went wrong, or nothing."""
    expert = new_expert(task.name, task.section)
    try:
        task.fitter.fit(expert, seed=task.seed, without_fold=task.fold)
    except WorkError as error:
        return str(error)
    expert.eval()
    with atomic_path(task.kept) as temporary, open(temporary, "wb") as file:
        if task.fold is None:
            torch.save(expert.state_dict(), file)
        else:
            raw = task.fitter.judge(expert, task.clips)
            np.savez(file, raw=raw, stand_ins=task.fitter.stand_ins(expert, task.fold))
    return ""


def new_expert(name: str, section: dict[str, Any]) -> Expert:
    """An expert that nothing has been fitted to yet."""
    entry = EXPERTS.get(name)
    return entry.built_class(entry.config_class.model_validate(section))
