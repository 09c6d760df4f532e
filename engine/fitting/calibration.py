"""From an expert's raw log-odds to a log-likelihood ratio: one positive slope, and a bias that follows from it."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import logsumexp

from models.experts.evidence import clip_evidence

SLOPES = np.geomspace(0.02, 5.0, 60)
"""Candidates, in log-odds per standard deviation of the real clips."""

LEAST_SPREAD = 1e-6


def evidence_of(raw: np.ndarray, slope: float, bias: float, bound: float) -> np.ndarray:
    """`clip_evidence` of raw log-odds (n,); NaN, an expert without an opinion, is no evidence: 0."""
    evidence = clip_evidence(torch.from_numpy(slope * raw + bias), bound).numpy()
    return np.where(np.isnan(raw), 0.0, evidence)


def fit_slope_and_bias(raw: np.ndarray, target: np.ndarray, groups: np.ndarray, bound: float) -> tuple[float, float]:
    """Fit an expert's calibration on clips that it was not fitted on.

    The slope is the one that best ranks fakes above the real clips *of their own group* (conditional logistic loss over pairs,
    every group weighing the same): scene, camera and codec are the same there, so that it measures what the expert knows of
    forgeries and not of publishers. Without a group of both classes all clips are one. A likelihood ratio is 1 on average over
    real clips; that gives the bias.

    Args:
        raw: (n,) raw log-odds; NaN where the expert has no opinion, which are passed over.
        target: (n,) 1 for fake, 0 for real.
        groups: (n,) text.
        bound: see `clip_evidence`.

    Returns:
        Slope and bias for `Expert.calibrate`. A slope of 0 silences an expert that ranks fakes no better than chance.
    """
    known = ~np.isnan(raw)
    raw, is_fake, groups = raw[known], target[known] == 1, groups[known]
    if is_fake.all() or not is_fake.any():
        return 0.0, 0.0
    real = raw[~is_fake]
    spread = max(float(real.std()), LEAST_SPREAD)
    pairs = pairs_within(is_fake, groups) or [np.ix_(np.flatnonzero(is_fake), np.flatnonzero(~is_fake))]

    def loss(slope: float) -> float:
        evidence = evidence_of(raw, slope, bias_for(real, slope), bound)
        gaps = [evidence[fakes] - evidence[reals] for fakes, reals in pairs]
        return float(np.mean([np.logaddexp(0.0, -gap).mean() for gap in gaps]))

    losses = [loss(slope / spread) for slope in SLOPES]
    best = int(np.argmin(losses))
    if losses[best] >= np.log(2):
        return 0.0, 0.0
    slope = float(SLOPES[best] / spread)
    return slope, bias_for(real, slope)


def bias_for(real: np.ndarray, slope: float) -> float:
    """The bias that makes the likelihood ratios of real clips (raw log-odds (n,)) 1 on average, before they are bounded."""
    return float(np.log(len(real)) - logsumexp(slope * real))


def pairs_within(is_fake: np.ndarray, groups: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """For each group of both classes the numbers of its fakes (f, 1) and of its real clips (1, r)."""
    pairs = []
    for group in np.unique(groups):
        inside = groups == group
        fakes, reals = np.flatnonzero(inside & is_fake), np.flatnonzero(inside & ~is_fake)
        if len(fakes) and len(reals):
            pairs.append(np.ix_(fakes, reals))
    return pairs
