"""Unscored clips: their number, their reasons, and their effect on the AUC under each coverage policy."""

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
    """Count the unscored clips by reason code, most frequent first; an empty code counts as ``not_scored``."""
    reasons = clips.labels("reason")
    if reasons is None:
        reasons = np.full(len(clips.scored), NOT_GIVEN, dtype=object)
    codes = np.where(reasons == NOT_GIVEN, NOT_SCORED, reasons)[~clips.scored].astype(str)
    names, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[i]): int(counts[i]) for i in order}


def coverage_by_class(clips: EvaluatedClips) -> dict[str, float | None]:
    """Return the share of reals and of fakes that have a score; a large gap between them biases the AUC."""
    shares = {}
    for name, members in (("real", ~clips.is_fake), ("fake", clips.is_fake)):
        shares[name] = float(clips.scored[members].mean()) if members.any() else None
    return shares


def counted(clips: EvaluatedClips, policy: CoveragePolicy) -> tuple[np.ndarray, np.ndarray]:
    """Return the clips that a policy ranks and the values to rank them by.

    Returns:
        (n,) mask of the ranked clips, and (n,) their ranking values. Unscored clips rank below all others under
        ``as-real`` and above all others under ``as-fake``. ``exclude`` and ``as-chance`` rank scored clips only.
    """
    if policy in ("as-real", "as-fake"):
        fill = -np.inf if policy == "as-real" else np.inf
        return np.ones(len(clips.scored), dtype=bool), np.where(clips.scored, clips.ranking, fill)
    return clips.scored, clips.ranking


def auc_under(clips: EvaluatedClips, policy: CoveragePolicy) -> Estimate:
    """Compute the AUC with unscored clips counted according to ``policy``."""
    mask, ranking = counted(clips, policy)
    auc, reason = roc_auc(clips.is_fake[mask], ranking[mask])
    if policy == "as-chance" and auc is not None:
        auc = toward_chance(clips, auc)
    return Estimate(auc, reason)


def interval_under(clips: EvaluatedClips, policy: CoveragePolicy, interval: Interval) -> Interval:
    """Convert the interval over ranked clips to ``policy``, treating the coverage as fixed."""
    if policy != "as-chance":
        return interval
    value, low, high = (None if limit is None else toward_chance(clips, limit) for limit in interval[:3])
    return Interval(value, low, high, interval.units, interval.reason)


def toward_chance(clips: EvaluatedClips, auc: float) -> float:
    """Convert the AUC over scored pairs to all pairs, where a pair with an unscored clip counts one half."""
    share = 1.0
    for members in (clips.is_fake, ~clips.is_fake):
        share *= clips.scored[members].mean()
    return float(0.5 + share * (auc - 0.5))
