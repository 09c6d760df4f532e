"""Calibration of an expert: a positive slope and a bias turn its raw log-odds into a log-likelihood ratio."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.special import logsumexp

from models.experts.evidence import clip_evidence

SLOPES = np.geomspace(0.02, 5.0, 60)
"""Candidate slopes, in log-odds per standard deviation of the real clips."""

LEAST_SPREAD = 1e-6


class Scale(NamedTuple):
    """The calibration of one expert.

    Attributes:
        slope, bias: the log-likelihood ratio is slope * raw log-odds + bias. Both are 0 for an expert that is not used.
        typical: median evidence of real clips, see `Expert`.
    """

    slope: float
    bias: float
    typical: float = 0.0


UNUSED = Scale(0.0, 0.0)


def evidence_of(raw: np.ndarray, scale: Scale, bound: float) -> np.ndarray:
    """Return the evidence of raw log-odds (n,) above that of a typical real clip; 0 for NaN, where the expert abstained."""
    evidence = clip_evidence(torch.from_numpy(scale.slope * raw + scale.bias), bound).numpy() - scale.typical
    return np.where(np.isnan(raw), 0.0, evidence)


def fit_scale(raw: np.ndarray, target: np.ndarray, groups: np.ndarray, bound: float) -> Scale:
    """Fit an expert's calibration on clips that were not used to fit the expert.

    The slope minimises the conditional logistic loss of ranking fakes above real clips *of the same group*; all groups have
    the same weight. Scene, camera and codec are the same within a group, so the slope measures how well the expert detects
    forgeries, not how well it tells publishers apart. If no group has both classes, all clips form one group. The bias sets
    the mean likelihood ratio of real clips to 1.

    Args:
        raw: (n,) raw log-odds; NaN, where the expert abstained, is ignored.
        target: (n,) 1 for fake, 0 for real.
        groups: (n,) text.
        bound: see `clip_evidence`.

    Returns:
        The arguments of `Expert.calibrate`; `UNUSED` for an expert that ranks fakes no better than chance.
    """
    known = ~np.isnan(raw)
    raw, is_fake, groups = raw[known], target[known] == 1, groups[known]
    if is_fake.all() or not is_fake.any():
        return UNUSED
    real = raw[~is_fake]
    spread = max(float(real.std()), LEAST_SPREAD)
    pairs = pairs_within(is_fake, groups) or [np.ix_(np.flatnonzero(is_fake), np.flatnonzero(~is_fake))]

    def loss(slope: float) -> float:
        evidence = evidence_of(raw, Scale(slope, bias_for(real, slope)), bound)
        gaps = [evidence[fakes] - evidence[reals] for fakes, reals in pairs]
        return float(np.mean([np.logaddexp(0.0, -gap).mean() for gap in gaps]))

    losses = [loss(slope / spread) for slope in SLOPES]
    best = int(np.argmin(losses))
    if losses[best] >= np.log(2):
        return UNUSED
    slope = float(SLOPES[best] / spread)
    scale = Scale(slope, bias_for(real, slope))
    return scale._replace(typical=float(np.median(evidence_of(real, scale, bound))))


def bias_for(real: np.ndarray, slope: float) -> float:
    """Return the bias that makes the mean likelihood ratio of real clips (raw log-odds (n,)) 1, before bounding."""
    return float(np.log(len(real)) - logsumexp(slope * real))


def pairs_within(is_fake: np.ndarray, groups: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Return the indices of the fakes (f, 1) and of the real clips (1, r) of each group that has both."""
    pairs = []
    for group in np.unique(groups):
        inside = groups == group
        fakes, reals = np.flatnonzero(inside & is_fake), np.flatnonzero(inside & ~is_fake)
        if len(fakes) and len(reals):
            pairs.append(np.ix_(fakes, reals))
    return pairs
