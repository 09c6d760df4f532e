"""What the experts say together of clips that they were not fitted on, and what each combination of them is worth."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.config import RunConfig
from engine.fitting.base import LabelledClips
from engine.fitting.calibration import evidence_of, fit_slope_and_bias
from engine.fitting.judging import Judged
from engine.scoring import EVIDENCE_PREFIX, MISSING_MODALITY
from utils.metrics import summarise, summary_row

STAND_IN_GROUP = "pseudo-fakes"


@dataclass(frozen=True)
class Fusion:
    """The calibration of every expert.

    Attributes:
        scales: expert -> slope and bias from raw log-odds to a log-likelihood ratio.
        bound: see `models.experts.evidence.clip_evidence`.
    """

    scales: dict[str, tuple[float, float]]
    bound: float

    @classmethod
    def fit(cls, judged: Mapping[str, Judged], target: np.ndarray, groups: np.ndarray, bound: float) -> Fusion:
        """Calibrate on out-of-fold opinions (n,) of clips with these targets and groups.

        Stand-ins take the place of fakes where none is labelled, and for experts that ask for it.
        """
        scales = {}
        for name, said in judged.items():
            raw, is_fake, where = said.raw, target, groups
            if said.calibrates_on_stand_ins or not target.any():
                raw = np.concatenate([raw[target == 0], said.stand_ins])
                is_fake = np.repeat([0.0, 1.0], [int((target == 0).sum()), len(said.stand_ins)])
                where = np.full(len(raw), STAND_IN_GROUP)
            scales[name] = fit_slope_and_bias(raw, is_fake, where, bound)
        return cls(scales, bound)

    def evidence(self, name: str, raw: np.ndarray) -> np.ndarray:
        """What an expert's raw log-odds (n,) add to the fused logit; 0 for NaN."""
        return evidence_of(raw, *self.scales[name], self.bound)

    def stand_in_logits(self, judged: Mapping[str, Judged]) -> tuple[np.ndarray, np.ndarray]:
        """Fused logits of pseudo-fakes, and their folds: each forges one modality, so the other experts say nothing of it."""
        logits = [self.evidence(name, said.stand_ins) for name, said in judged.items()]
        return np.concatenate(logits), np.concatenate([said.stand_in_folds for said in judged.values()])


def fuse_out_of_fold(
    clips: LabelledClips, judged: Mapping[str, Judged], bound: float, names: Iterable[str] | None = None
) -> pd.DataFrame:
    """The labelled clips with their fused logit and each expert's evidence; the calibration, too, never saw the clip's fold.

    Args:
        clips: the labelled clips.
        judged: what each expert said.
        bound: see `Fusion`.
        names: the experts to fuse; all when omitted.

    Returns:
        The label table with `logit` (NaN where no expert has an opinion), `status`, `reason` and `evidence_<expert>`.
    """
    chosen = {name: judged[name] for name in (judged if names is None else names)}
    evidence = {name: np.zeros(len(clips)) for name in chosen}
    for fold in np.unique(clips.folds):
        held = clips.folds == fold
        others = {name: said.without(held, int(fold)) for name, said in chosen.items()}
        fusion = Fusion.fit(others, clips.target[~held], clips.groups[~held], bound)
        for name, said in chosen.items():
            evidence[name][held] = fusion.evidence(name, said.raw[held])
    silent = {name: np.isnan(said.raw) for name, said in chosen.items()}
    known = ~np.all(list(silent.values()), axis=0)
    logit = np.where(known, np.sum(list(evidence.values()), axis=0), np.nan)
    return clips.table.labels.assign(
        logit=logit,
        status=np.where(known, "ok", "partial"),
        reason=np.where(known, "", MISSING_MODALITY),
        **{f"{EVIDENCE_PREFIX}{name}": np.where(silent[name], np.nan, values) for name, values in evidence.items()},
    )


def combination_table(clips: LabelledClips, by_seed: list[dict[str, Judged]], config: RunConfig) -> pd.DataFrame:
    """What each expert and each combination of them is worth: a row per seed and combination.

    An expert alone is ranked by its raw log-odds, so that its row does not hang on a calibration.
    """
    rows = []
    for number, judged in enumerate(by_seed):
        for size in range(1, len(judged) + 1):
            for names in itertools.combinations(judged, size):
                predictions = fuse_out_of_fold(clips, judged, config.model["bound"], names)
                if size == 1:
                    predictions["logit"] = judged[names[0]].raw
                metrics = summarise(
                    predictions, split="+".join(names), bootstrap=config.eval.bootstrap, seed=config.seed
                )
                rows.append({"seed": config.seed + number, "experts": "+".join(names), **summary_row(metrics)})
    return pd.DataFrame(rows)
