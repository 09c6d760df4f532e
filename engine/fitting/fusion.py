"""Fusion of the experts' out-of-fold scores, and the metrics of every combination of experts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.config import RunConfig
from engine.fitting.base import LabelledClips
from engine.fitting.calibration import Scale, evidence_of, fit_scale
from engine.fitting.out_of_fold import OutOfFoldScores
from engine.scoring import EVIDENCE_PREFIX, MISSING_MODALITY
from utils.metrics import summarise, summary_row

PSEUDO_FAKE_GROUP = "pseudo-fakes"
ALL_CLIPS, WITH_VIDEO, AUDIO_ONLY = "all", "with_video", "audio_only"
"""Values of the column `clips` in the table of combinations. `all` stands for all clips."""

NO_VIDEO = "no_video"


@dataclass(frozen=True)
class Fusion:
    """The calibrations of all experts.

    Attributes:
        scales: expert -> calibration of its raw log-odds.
        bound: see `models.experts.evidence.clip_evidence`.
    """

    scales: dict[str, Scale]
    bound: float

    @classmethod
    def fit(cls, scores: Mapping[str, OutOfFoldScores], target: np.ndarray, groups: np.ndarray, bound: float) -> Fusion:
        """Calibrate every expert on its out-of-fold scores.

        Held-out pseudo-fakes are used instead of labelled fakes if there are none, and always for experts with
        `calibrates_on_pseudo_fakes`.

        Args:
            scores: expert -> scores of n clips.
            target: (n,) 1 for fake, 0 for real.
            groups: (n,) text.
            bound: see `models.experts.evidence.clip_evidence`.
        """
        scales = {}
        for name, own in scores.items():
            raw, is_fake, group = own.raw, target, groups
            if own.calibrates_on_pseudo_fakes or not target.any():
                raw = np.concatenate([raw[target == 0], own.pseudo_fakes])
                is_fake = np.repeat([0.0, 1.0], [int((target == 0).sum()), len(own.pseudo_fakes)])
                group = np.full(len(raw), PSEUDO_FAKE_GROUP)
            scales[name] = fit_scale(raw, is_fake, group, bound)
        return cls(scales, bound)

    def evidence(self, name: str, raw: np.ndarray) -> np.ndarray:
        """Return the contribution of an expert's raw log-odds (n,) to the fused logit; 0 for NaN."""
        return evidence_of(raw, self.scales[name], self.bound)

    def pseudo_fake_logits(self, scores: Mapping[str, OutOfFoldScores]) -> tuple[np.ndarray, np.ndarray]:
        """Return the fused logits of held-out pseudo-fakes (m,), and their folds (m,).

        A pseudo-fake is scored only by the expert that it was made for; all other experts contribute 0.
        """
        logits = [self.evidence(name, own.pseudo_fakes) for name, own in scores.items()]
        return np.concatenate(logits), np.concatenate([own.pseudo_fake_folds for own in scores.values()])


def fuse_out_of_fold(
    clips: LabelledClips, scores: Mapping[str, OutOfFoldScores], bound: float, names: Iterable[str] | None = None
) -> pd.DataFrame:
    """Fuse the experts' scores of labelled clips. Each fold's scores are calibrated on the other folds.

    Args:
        clips: the labelled clips.
        scores: out-of-fold scores of each expert.
        bound: see `Fusion`.
        names: the experts to fuse; all when omitted.

    Returns:
        The label table with `logit` (NaN where all experts abstained), `status`, `reason` and `evidence_<expert>`. The reason
        of a clip without video is `no_video`, as in inference.
    """
    chosen = {name: scores[name] for name in (scores if names is None else names)}
    evidence = {name: np.zeros(len(clips)) for name in chosen}
    for fold in np.unique(clips.folds):
        held = clips.folds == fold
        others = {name: own.without(held, int(fold)) for name, own in chosen.items()}
        fusion = Fusion.fit(others, clips.target[~held], clips.groups[~held], bound)
        for name, own in chosen.items():
            evidence[name][held] = fusion.evidence(name, own.raw[held])
    masked = {name: np.isnan(own.raw) for name, own in chosen.items()}
    known = ~np.all(list(masked.values()), axis=0)
    logit = np.where(known, np.sum(list(evidence.values()), axis=0), np.nan)
    return clips.table.labels.assign(
        logit=logit,
        status=np.where(known & clips.with_video, "ok", "partial"),
        reason=np.where(clips.with_video, np.where(known, "", MISSING_MODALITY), NO_VIDEO),
        **{f"{EVIDENCE_PREFIX}{name}": np.where(masked[name], np.nan, values) for name, values in evidence.items()},
    )


def combination_table(
    clips: LabelledClips, by_seed: list[dict[str, OutOfFoldScores]], config: RunConfig
) -> pd.DataFrame:
    """Return the metrics of each expert and of each combination: a row per seed and combination.

    Rows of a single expert use its raw log-odds, so they do not depend on the calibration. If some clips have no video, there
    is a second row for these clips, unless the combination scored none of them.
    """
    rows = []
    for number, scores in enumerate(by_seed):
        for size in range(1, len(scores) + 1):
            for names in itertools.combinations(scores, size):
                predictions = fuse_out_of_fold(clips, scores, config.model["bound"], names)
                if size == 1:
                    predictions["logit"] = scores[names[0]].raw
                for part, chosen in parts_of(clips).items():
                    if part == AUDIO_ONLY and predictions.loc[chosen, "logit"].isna().all():
                        continue
                    metrics = summarise(
                        predictions[chosen], split="+".join(names), bootstrap=config.eval.bootstrap, seed=config.seed
                    )
                    row = {"seed": config.seed + number, "experts": "+".join(names), **summary_row(metrics)}
                    rows.append(row | {"clips": part})
    return pd.DataFrame(rows)


def parts_of(clips: LabelledClips) -> dict[str, np.ndarray]:
    """Return a mask (n,) bool for each part of the clips that has its own metrics."""
    chosen = clips.evaluated
    return {ALL_CLIPS: chosen} if chosen.all() else {WITH_VIDEO: chosen, AUDIO_ONLY: ~chosen}
