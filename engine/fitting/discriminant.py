"""Fitting of the linear discriminant (Fisher, 1936) with a ridge on its scatter."""

from __future__ import annotations

import numpy as np
import torch

from models.blocks.discriminant import LinearDiscriminant

LEAST_SPREAD = 1e-6


@torch.no_grad()
def fit_discriminant(
    module: LinearDiscriminant,
    features: np.ndarray,
    is_fake: np.ndarray,
    *,
    ridge: float,
    weights: np.ndarray | None = None,
) -> None:
    """Fit a discriminant. The offset gives both classes equal weight, regardless of their sizes.

    Args:
        module: receives the result.
        features: (N, D).
        is_fake: (N,) bool or 0/1; both classes occur.
        ridge: added to the diagonal of the scatter of the standardised features.
        weights: (N,) sample weights; equal when omitted.
    """
    weights = np.ones(len(features)) if weights is None else weights
    share = weights / weights.sum()
    rows = features.astype(np.float64)
    centre = share @ rows
    spread = np.sqrt(share @ (rows - centre) ** 2) + LEAST_SPREAD
    standard = (rows - centre) / spread
    fake = is_fake.astype(bool)
    means = [share[chosen] @ standard[chosen] / share[chosen].sum() for chosen in (~fake, fake)]
    rest = standard - np.where(fake[:, None], means[1], means[0])
    scatter = (share[:, None] * rest).T @ rest + ridge * np.eye(rest.shape[1])
    weight = np.linalg.solve(scatter, means[1] - means[0])
    module.resize(len(weight))
    for buffer, values in ((module.centre, centre), (module.spread, spread), (module.weight, weight)):
        buffer.copy_(torch.as_tensor(values))
    module.offset.fill_(float(-weight @ (means[0] + means[1]) / 2))
