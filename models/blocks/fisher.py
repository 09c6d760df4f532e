"""A linear direction from real faces to forged ones that discounts whatever makes real faces differ among themselves."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

CLIP = 4.0
"""Standardised features count up to this size: one odd channel must not decide."""

LEAST_SPREAD = 1e-6


class FisherDirection(nn.Module):
    """Standardise, clip, project: real clips that it was fitted on have median 0 and unit spread within their group."""

    median: Tensor
    spread: Tensor
    weight: Tensor
    offset: Tensor

    def __init__(self, size: int) -> None:
        """Begin with a random direction in `size` dimensions."""
        super().__init__()
        self.register_buffer("median", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.register_buffer("weight", torch.randn(size) / size**0.5)
        self.register_buffer("offset", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Features (..., D) -> (...,) float32, higher for forged."""
        scaled = ((features - self.median) / self.spread).clamp(-CLIP, CLIP)
        return (scaled * self.weight).sum(dim=-1) - self.offset

    @torch.no_grad()
    def fit(
        self,
        forged: np.ndarray,
        partners: np.ndarray,
        families: np.ndarray,
        reals: np.ndarray,
        groups: np.ndarray,
        *,
        ridge: float = 1.0,
        pair_share: float = 0.3,
    ) -> None:
        """Find the direction: the mean step from a real face to its forgery over the covariance of real clips.

        Args:
            forged: (N, D) features of forged sequences.
            partners: (N, D) of the real sequences they were made of, post-processed alike.
            families: (N,) names; every family weighs the same.
            reals: (M, D) of untouched real clips.
            groups: (M,) text; only differences within a group count, unless no group has two clips.
            ridge: added to the covariance, in units of its mean variance.
            pair_share: weight of the covariance of the steps themselves.
        """
        both = np.concatenate([partners, forged]).astype(np.float64)
        median, spread = np.median(both, axis=0), both.std(axis=0) + LEAST_SPREAD

        def scaled(features: np.ndarray) -> np.ndarray:
            return np.clip((features - median) / spread, -CLIP, CLIP)

        steps, clips = scaled(forged) - scaled(partners), scaled(reals)
        shift = np.mean([steps[families == family].mean(axis=0) for family in np.unique(families)], axis=0)
        within = covariance_within(clips, groups)
        cover = within + pair_share * np.cov(steps.T)
        weight = np.linalg.solve(cover + ridge * np.trace(cover) / len(cover) * np.eye(len(cover)), shift)
        weight /= max(np.sqrt(weight @ within @ weight), LEAST_SPREAD)
        offset = np.median(clips @ weight)
        for buffer, values in ((self.median, median), (self.spread, spread), (self.weight, weight)):
            buffer.copy_(torch.from_numpy(values))
        self.offset.fill_(float(offset))


def covariance_within(features: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Covariance (D, D) of features (M, D) about the means of their groups; about their common mean where all are single."""
    members = [features[groups == group] for group in np.unique(groups)]
    shared = [part - part.mean(axis=0) for part in members if len(part) > 1]
    if not shared:
        shared = [features - features.mean(axis=0)]
    centred = np.concatenate(shared)
    return centred.T @ centred / max(len(centred) - len(shared), 1)
