"""Clips without a score: how many, why, and what they do to the AUC under each way of counting them."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from utils.metrics.clips import NOT_GIVEN, EvaluatedClips
from utils.metrics.estimate import Estimate, Interval
from utils.metrics.ranking import roc_auc

CoveragePolicy = Literal["exclude", "as-real", "as-fake", "as-chance"]
POLICIES: tuple[CoveragePolicy, ...] = get_args(CoveragePolicy)
NOT_SCORED = "not_scored"


def coverage_counts(clips: EvaluatedClips) -> dict[str, int]:
    """Number of unscored clips by reason code, the most frequent first; ``not_scored`` where the code is empty."""
    reasons = clips.labels("reason")
    if reasons is None:
        reasons = np.full(len(clips.scored), NOT_GIVEN, dtype=object)
    codes = np.where(reasons == NOT_GIVEN, NOT_SCORED, reasons)[~clips.scored].astype(str)
    names, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[i]): int(counts[i]) for i in order}


def coverage_by_class(clips: EvaluatedClips) -> dict[str, float | None]:
    """Share of the reals and of the fakes that have a score: a gap between them is a finding in itself."""
    shares = {}
    for name, members in (("real", ~clips.is_fake), ("fake", clips.is_fake)):
        shares[name] = float(clips.scored[members].mean()) if members.any() else None
    return shares


def counted(clips: EvaluatedClips, policy: CoveragePolicy) -> tuple[np.ndarray, np.ndarray]:
    """Which clips a policy ranks, and by what.

    Returns:
        (n,) mask of the clips ranked, and (n,) their ranking: unscored clips stand below all others as real and above
        all others as fake. Under ``exclude`` and ``as-chance`` only scored clips are ranked.
    """
    if policy in ("as-real", "as-fake"):
        fill = -np.inf if policy == "as-real" else np.inf
        return np.ones(len(clips.scored), dtype=bool), np.where(clips.scored, clips.ranking, fill)
    return clips.scored, clips.ranking


def auc_under(clips: EvaluatedClips, policy: CoveragePolicy) -> Estimate:
    """AUC with the unscored clips counted by ``policy``."""
    mask, ranking = counted(clips, policy)
    auc, reason = roc_auc(clips.is_fake[mask], ranking[mask])
    if policy == "as-chance" and auc is not None:
        auc = toward_chance(clips, auc)
    return Estimate(auc, reason)


def interval_under(clips: EvaluatedClips, policy: CoveragePolicy, interval: Interval) -> Interval:
    """Move the interval of the ranked clips to what it is under ``policy``, taking the coverage as it is."""
    if policy != "as-chance":
        return interval
    value, low, high = (None if limit is None else toward_chance(clips, limit) for limit in interval[:3])
    return Interval(value, low, high, interval.units, interval.reason)


def toward_chance(clips: EvaluatedClips, auc: float) -> float:
    """AUC over all pairs when each pair with an unscored clip is a coin toss, from the AUC over the scored pairs."""
    share = 1.0
    for members in (clips.is_fake, ~clips.is_fake):
        share *= clips.scored[members].mean()
    return float(0.5 + share * (auc - 0.5))
