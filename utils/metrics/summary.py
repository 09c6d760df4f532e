"""Every figure that the project reports about a split, from its predictions table: the content of ``metrics.json``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from utils.errors import UsageError
from utils.metrics.breakdown import fakes_against_all_reals, macro_average, within_sources
from utils.metrics.calibration import Calibration
from utils.metrics.claims import Claims
from utils.metrics.clips import EvaluatedClips, evaluated_clips
from utils.metrics.coverage import (
    POLICIES,
    CoveragePolicy,
    auc_under,
    counted,
    coverage_by_class,
    coverage_counts,
    interval_under,
)
from utils.metrics.estimate import Estimate, Interval, missing_class
from utils.metrics.intervals import RESAMPLES, bootstrap_auc, bootstrap_auc_over_groups, same_source_auc
from utils.metrics.ranking import average_precision, balanced_accuracy, equal_error_rate, tpr_at_fpr
from utils.metrics.reliability import brier_score, expected_calibration_error, reliability_table
from utils.metrics.verdicts import Verdicts, reach_verdicts

LOW_FPRS = (0.001, 0.005, 0.01)


def summarise(
    predictions: pd.DataFrame,
    *,
    split: str,
    calibration: Calibration | None = None,
    threshold: float | None = None,
    in_sample: bool = False,
    initialisation: str | None = None,
    coverage_policy: CoveragePolicy = "exclude",
    bootstrap: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute every metric of a split.

    Ranking metrics order the clips by ``logit`` when every scored clip has one, else by ``score``. The threshold is
    ``threshold``, else the calibration's, else 0.5. The headline AUC has bootstrap limits, the tables DeLong's. Brier
    score and calibration error are over the scored clips whatever the policy.

    Args:
        predictions: One row per clip with ``video_name``, ``target`` (1 fake, 0 real, empty or a placeholder),
            ``score`` and/or ``logit`` (empty where unscored) and, where known, ``reason``, ``type``, ``source``,
            ``modality`` and ``group``.
        split: Name of the split.
        calibration: Computes the score from the logit and gives the threshold.
        threshold: Score from which a clip is called fake.
        in_sample: The calibration was fitted on these very clips; what depends on it is then cross-fitted.
        initialisation: How the model's weights began, kept with the figures.
        coverage_policy: How unscored clips count in the ranking metrics and in the balanced accuracy.
        bootstrap: Number of bootstrap resamples; 0 leaves the limits out.
        seed: Seed of the resampling and of the folds.

    Returns:
        Plain JSON values. A figure that cannot be computed is ``None``, with its reason under ``reasons`` by dotted
        path; the reason of an absent AUC also stands for its limits.

    Raises:
        UsageError: The table lacks a needed column or holds a value outside its range, or the policy is unknown.
    """
    if coverage_policy not in POLICIES:
        raise UsageError(f"the coverage policy {coverage_policy!r} is not one of {', '.join(POLICIES)}")
    clips = evaluated_clips(predictions, calibration)
    claims = Claims(_nothing_to_claim(clips))
    verdicts = reach_verdicts(clips, calibration, threshold, in_sample and not claims.nothing, seed)
    return {
        "split": split,
        **_counts(clips, coverage_policy),
        **_ranking_metrics(clips, coverage_policy, bootstrap, seed, claims),
        **_threshold_metrics(clips, verdicts, coverage_policy, claims),
        **_probability_metrics(clips, verdicts, claims),
        "in_sample": in_sample,
        "initialisation": initialisation,
        **_tables(clips, bootstrap, seed, claims),
        "policies": {
            policy: {"auc": claims.value(f"policies.{policy}.auc", partial(auc_under, clips, policy))}
            for policy in POLICIES
        },
        "calibration": None if calibration is None else calibration.to_dict(),
        "bootstrap": {"resamples": bootstrap, "seed": seed, "confidence": 0.95},
        "reasons": claims.reasons,
        "notes": claims.notes,
    }


def _nothing_to_claim(clips: EvaluatedClips) -> str:
    if clips.no_targets:
        return clips.no_targets
    if not clips.scored.any():
        return "no clip was scored"
    absent = missing_class(int((~clips.is_fake).sum()), int(clips.is_fake.sum()))
    if absent:
        return absent
    scored_fakes = clips.is_fake[clips.scored]
    absent = missing_class(int((~scored_fakes).sum()), int(scored_fakes.sum()))
    return absent and f"{absent} among the scored"


def _counts(clips: EvaluatedClips, policy: CoveragePolicy) -> dict[str, Any]:
    known = not clips.no_targets
    return {
        "n": len(clips.scored),
        "n_scored": int(clips.scored.sum()),
        "n_real": int((~clips.is_fake).sum()) if known else None,
        "n_fake": int(clips.is_fake.sum()) if known else None,
        "n_unlabelled": clips.n_unlabelled,
        "coverage": float(clips.scored.mean()) if len(clips.scored) else None,
        "coverage_policy": policy,
        "coverage_reasons": coverage_counts(clips),
        "coverage_by_class": coverage_by_class(clips) if known else {"real": None, "fake": None},
    }


def _ranking_metrics(
    clips: EvaluatedClips, policy: CoveragePolicy, bootstrap: int, seed: int, claims: Claims
) -> dict[str, Any]:
    mask, ranking = counted(clips, policy)
    columns = (clips.is_fake[mask], ranking[mask])
    groups = clips.groups()

    def unless_chance(metric: Callable[..., Estimate], *more: float) -> Estimate:
        if policy == "as-chance":
            return Estimate(None, "not defined when unscored clips count as chance")
        return metric(*columns, *more)

    def over_groups() -> Interval:
        if groups is None:
            return Interval(None, reason="there is no group column")
        return bootstrap_auc_over_groups(*columns, groups[mask], resamples=bootstrap, seed=seed)

    def over_clips() -> Interval:
        return bootstrap_auc(*columns, resamples=bootstrap, seed=seed)

    return {
        "auc": claims.interval("auc", lambda: interval_under(clips, policy, over_clips())),
        "auc_by_group": claims.interval("auc_by_group", lambda: interval_under(clips, policy, over_groups()), "groups"),
        "tpr_at_fpr": {
            f"{fpr:g}": claims.value(f"tpr_at_fpr.{fpr:g}", partial(unless_chance, tpr_at_fpr, fpr)) for fpr in LOW_FPRS
        },
        "eer": claims.value("eer", partial(unless_chance, equal_error_rate)),
        "ap": claims.value("ap", partial(unless_chance, average_precision)),
    }


def _threshold_metrics(
    clips: EvaluatedClips, verdicts: Verdicts, policy: CoveragePolicy, claims: Claims
) -> dict[str, Any]:
    unscored_call = {"exclude": np.nan, "as-real": 0.0, "as-fake": 1.0, "as-chance": 0.5}[policy]
    call = None if verdicts.called_fake is None else np.where(clips.scored, verdicts.called_fake, unscored_call)

    def share_called_fake(members: np.ndarray) -> Estimate:
        return Estimate(None, verdicts.no_call) if call is None else Estimate(float(np.nanmean(call[members])))

    def balanced() -> Estimate:
        if call is None:
            return Estimate(None, verdicts.no_call)
        judged = ~np.isnan(call)
        return balanced_accuracy(clips.is_fake[judged], call[judged])

    if verdicts.threshold is None:
        claims.reasons["threshold"] = verdicts.no_threshold
    return {
        "threshold": verdicts.threshold,
        "balanced_accuracy": claims.value("balanced_accuracy", balanced),
        "at_threshold": {
            "tpr": claims.value("at_threshold.tpr", lambda: share_called_fake(clips.is_fake)),
            "fpr": claims.value("at_threshold.fpr", lambda: share_called_fake(~clips.is_fake)),
        },
    }


def _probability_metrics(clips: EvaluatedClips, verdicts: Verdicts, claims: Claims) -> dict[str, Any]:
    target = clips.is_fake[clips.scored]
    after = None if verdicts.probability is None else verdicts.probability[clips.scored]
    before = None if clips.logit is None else expit(clips.logit[clips.scored])

    def of(probability: np.ndarray | None, absent: str, metric: Callable[..., Estimate]) -> Estimate:
        return Estimate(None, absent) if probability is None else metric(target, probability)

    def rows(probability: np.ndarray | None) -> list[dict[str, Any]] | None:
        if probability is None or claims.nothing:
            return None
        return [row._asdict() for row in reliability_table(target, probability)]

    no_logit = "not every scored clip has a logit"
    figures: dict[str, Any] = {}
    for name, metric in (("brier", brier_score), ("ece", expected_calibration_error)):
        figures[name] = claims.value(name, partial(of, after, verdicts.no_probability, metric))
        uncalibrated = f"{name}_uncalibrated"
        figures[uncalibrated] = claims.value(uncalibrated, partial(of, before, no_logit, metric))
    return figures | {"reliability": rows(after), "reliability_uncalibrated": rows(before)}


def _tables(clips: EvaluatedClips, bootstrap: int, seed: int, claims: Claims) -> dict[str, Any]:
    sources = clips.labels("source")

    def over_sources() -> Interval:
        if sources is None:
            return Interval(None, reason="there is no source column")
        columns = (clips.is_fake[clips.scored], clips.ranking[clips.scored], sources[clips.scored])
        return same_source_auc(*columns, resamples=bootstrap, seed=seed)

    figures: dict[str, Any] = {"same_source": claims.interval("same_source", over_sources, "sources")}
    if claims.nothing:
        empty: dict[str, Any] = {name: {} for name in ("per_type", "per_modality", "per_source")}
        claims.reasons["macro_auc"] = claims.nothing
        return figures | empty | {"macro_auc": None}
    per_type = claims.table("per_type", *fakes_against_all_reals(clips, "type"))
    return figures | {
        "per_type": per_type,
        "macro_auc": claims.value("macro_auc", lambda: macro_average(per_type)),
        "per_modality": claims.table("per_modality", *fakes_against_all_reals(clips, "modality")),
        "per_source": claims.table("per_source", *within_sources(clips)),
    }
