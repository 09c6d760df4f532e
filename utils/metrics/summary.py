"""All metrics of a split, computed from its predictions table: the content of ``metrics.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from utils.errors import UsageError
from utils.metrics.breakdown import fakes_against_all_reals, macro_average, within_sources
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
from utils.metrics.decisions import DecisionRule, Decisions, decide_clips
from utils.metrics.estimate import Estimate, Interval, missing_class
from utils.metrics.figure_log import FigureLog
from utils.metrics.intervals import RESAMPLES, bootstrap_auc, bootstrap_auc_over_groups, same_source_auc
from utils.metrics.ranking import average_precision, equal_error_rate, tpr_at_fpr
from utils.metrics.reliability import brier_score, expected_calibration_error, reliability_table
from utils.metrics.threshold_metrics import threshold_metrics

LOW_FPRS = (0.001, 0.005, 0.01)
_NO_RULE = DecisionRule()


def summarise(
    predictions: pd.DataFrame,
    *,
    split: str,
    rule: DecisionRule = _NO_RULE,
    initialisation: str | None = None,
    coverage_policy: CoveragePolicy = "exclude",
    bootstrap: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute every metric of a split.

    Ranking metrics order the clips by ``logit`` if every scored clip has one, otherwise by ``score``. The headline AUC
    has bootstrap limits; the AUCs in the tables have DeLong limits. The Brier score and the calibration error always
    use only the scored clips, independent of the policy.

    Args:
        predictions: One row per clip with ``video_name``, ``target`` (1 fake, 0 real, empty or a placeholder),
            ``score`` and/or ``logit`` (empty if unscored) and optionally ``reason``, ``type``, ``source``,
            ``modality`` and ``group``.
        split: Name of the split.
        rule: Calibration and threshold.
        initialisation: How the model's weights were initialised; copied to the result.
        coverage_policy: How unscored clips count in the ranking metrics and in the balanced accuracy.
        bootstrap: Number of bootstrap resamples; 0 omits the limits.
        seed: Seed of the resampling and of the cross-fitting folds.

    Returns:
        Plain JSON values. A figure that cannot be computed is ``None`` and has an entry in ``reasons``, keyed by dotted
        path. The reason for a missing AUC also covers its limits.

    Raises:
        UsageError: The table lacks a required column or contains a value outside its range, or the policy is unknown.
    """
    if coverage_policy not in POLICIES:
        raise UsageError(f"the coverage policy {coverage_policy!r} is not one of {', '.join(POLICIES)}")
    clips = evaluated_clips(predictions, rule.calibration)
    log = FigureLog(_no_metrics_reason(clips))
    fold_rule = DecisionRule(rule.calibration, rule.threshold, rule.in_sample and not log.no_metrics)
    decisions = decide_clips(clips, fold_rule, seed)
    return {
        "split": split,
        **_counts(clips, coverage_policy),
        **_ranking_metrics(clips, coverage_policy, bootstrap, seed, log),
        **threshold_metrics(clips, decisions, coverage_policy, log),
        **_probability_metrics(clips, decisions, log),
        "in_sample": rule.in_sample,
        "initialisation": initialisation,
        **_tables(clips, bootstrap, seed, log),
        "policies": {
            policy: {"auc": log.value(f"policies.{policy}.auc", partial(auc_under, clips, policy))}
            for policy in POLICIES
        },
        "calibration": None if rule.calibration is None else rule.calibration.to_dict(),
        "bootstrap": {"resamples": bootstrap, "seed": seed, "confidence": 0.95},
        "reasons": log.reasons,
        "notes": log.notes,
    }


def summary_row(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a summary into one row of a table that compares systems.

    Returns:
        ``n``, ``coverage``; ``auc`` with limits over clips (``auc_low``, ``auc_high``) and over groups
        (``auc_group_low``, ``auc_group_high``); ``same_source`` with limits over the ``n_sources`` sources that have
        both classes; ``macro``, the mean AUC over fake types; and ``type_<name>``, the AUC of each fake type against
        all real clips. A figure that could not be computed is ``None``.
    """
    auc, by_group, within = metrics["auc"], metrics["auc_by_group"], metrics["same_source"]
    row = {
        "n": metrics["n"],
        "coverage": metrics["coverage"],
        "auc": auc["value"],
        "auc_low": auc["low"],
        "auc_high": auc["high"],
        "auc_group_low": by_group["low"],
        "auc_group_high": by_group["high"],
        "same_source": within["value"],
        "same_source_low": within["low"],
        "same_source_high": within["high"],
        "n_sources": within["sources"],
        "macro": metrics["macro_auc"],
    }
    return row | {f"type_{kind}": cells["auc"] for kind, cells in metrics["per_type"].items()}


def _no_metrics_reason(clips: EvaluatedClips) -> str:
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
    clips: EvaluatedClips, policy: CoveragePolicy, bootstrap: int, seed: int, log: FigureLog
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
        "auc": log.interval("auc", lambda: interval_under(clips, policy, over_clips())),
        "auc_by_group": log.interval("auc_by_group", lambda: interval_under(clips, policy, over_groups()), "groups"),
        "tpr_at_fpr": {
            f"{fpr:g}": log.value(f"tpr_at_fpr.{fpr:g}", partial(unless_chance, tpr_at_fpr, fpr)) for fpr in LOW_FPRS
        },
        "eer": log.value("eer", partial(unless_chance, equal_error_rate)),
        "ap": log.value("ap", partial(unless_chance, average_precision)),
    }


def _probability_metrics(clips: EvaluatedClips, decisions: Decisions, log: FigureLog) -> dict[str, Any]:
    target = clips.is_fake[clips.scored]
    after = None if decisions.probability is None else decisions.probability[clips.scored]
    before = None if clips.logit is None else expit(clips.logit[clips.scored])

    def of(probability: np.ndarray | None, absent: str, metric: Callable[..., Estimate]) -> Estimate:
        return Estimate(None, absent) if probability is None else metric(target, probability)

    def rows(probability: np.ndarray | None) -> list[dict[str, Any]] | None:
        if probability is None or log.no_metrics:
            return None
        return [row._asdict() for row in reliability_table(target, probability)]

    no_logit = "not every scored clip has a logit"
    figures: dict[str, Any] = {}
    for name, metric in (("brier", brier_score), ("ece", expected_calibration_error)):
        figures[name] = log.value(name, partial(of, after, decisions.no_probability, metric))
        uncalibrated = f"{name}_uncalibrated"
        figures[uncalibrated] = log.value(uncalibrated, partial(of, before, no_logit, metric))
    return figures | {"reliability": rows(after), "reliability_uncalibrated": rows(before)}


def _tables(clips: EvaluatedClips, bootstrap: int, seed: int, log: FigureLog) -> dict[str, Any]:
    sources = clips.labels("source")

    def over_sources() -> Interval:
        if sources is None:
            return Interval(None, reason="there is no source column")
        columns = (clips.is_fake[clips.scored], clips.ranking[clips.scored], sources[clips.scored])
        return same_source_auc(*columns, resamples=bootstrap, seed=seed)

    figures: dict[str, Any] = {"same_source": log.interval("same_source", over_sources, "sources")}
    if log.no_metrics:
        empty: dict[str, Any] = {name: {} for name in ("per_type", "per_modality", "per_source")}
        log.reasons["macro_auc"] = log.no_metrics
        return figures | empty | {"macro_auc": None}
    per_type = log.table("per_type", *fakes_against_all_reals(clips, "type"))
    return figures | {
        "per_type": per_type,
        "macro_auc": log.value("macro_auc", lambda: macro_average(per_type)),
        "per_modality": log.table("per_modality", *fakes_against_all_reals(clips, "modality")),
        "per_source": log.table("per_source", *within_sources(clips)),
    }
