"""The covariance expert: the seed's frame covariance of colour histograms, read by a linear discriminant (Fisher, 1936).

It is the one expert that is trained on labelled fakes: nothing in a covariance can be forged from real clips alone.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dataset.batch import Batch
from models.experts.base import EXPERTS, Expert, ExpertConfig
from utils.errors import UsageError
from utils.features.config import FeatureConfig

POINTS = 32
"""A profile is read at so many evenly spread places, whatever K is and however few frames the clip has."""

PROFILE_SIZE = 2 * POINTS
LEAST_SPREAD = 1e-6


class CovarianceConfig(ExpertConfig):
    """Config of the covariance expert."""

    ridge: float = Field(1.0, gt=0, description="added to the scatter of the standardised features")


@EXPERTS.register("covariance", CovarianceConfig)
class CovarianceExpert(Expert):
    """The covariance expert.

    Attributes:
        centre: (D,) and `spread` (D,): mean and standard deviation of the features over the clips it was fitted on.
        weight: (D,) the discriminant's direction.
        offset: () what it adds.
    """

    centre: Tensor
    spread: Tensor
    weight: Tensor
    offset: Tensor

    def __init__(self, config: CovarianceConfig) -> None:
        """Begin with a random direction."""
        super().__init__(config)
        self.ridge = config.ridge
        self.register_buffer("centre", torch.zeros(PROFILE_SIZE))
        self.register_buffer("spread", torch.ones(PROFILE_SIZE))
        self.register_buffer("weight", torch.randn(PROFILE_SIZE))
        self.register_buffer("offset", torch.zeros(()))

    @classmethod
    def check_features(cls, features: FeatureConfig) -> None:
        """See `Expert.check_features`."""
        if features.video.covariance != "frames":
            raise UsageError("the covariance expert needs features.video.covariance=frames")

    def mask(self, batch: Batch) -> Tensor:
        """(B,) bool: clips with a covariance."""
        return batch.has_covariance

    def raw(self, batch: Batch) -> Tensor:
        """(B,) float32: the discriminant, log-odds where the features are normal with one scatter for both classes."""
        return self.discriminant(profiles(batch.covariance)).float()

    def discriminant(self, features: Tensor) -> Tensor:
        """The discriminant (N,) float64 of features (N, D)."""
        standard = (features.double() - self.centre.double()) / self.spread.double()
        return (standard * self.weight.double()).sum(dim=1) + self.offset.double()

    @torch.no_grad()
    def fit(self, features: np.ndarray, is_fake: np.ndarray) -> None:
        """Fit the discriminant; both classes count the same, however many clips they have.

        Args:
            features: (N, D), see `profiles`.
            is_fake: (N,) bool; both classes occur.
        """
        centre, spread = features.mean(axis=0), features.std(axis=0) + LEAST_SPREAD
        standard = (features - centre) / spread
        means = [standard[is_fake == fake].mean(axis=0) for fake in (False, True)]
        rest = standard - np.where(is_fake[:, None], means[1], means[0])
        scatter = rest.T @ rest / len(rest) + self.ridge * np.eye(rest.shape[1])
        weight = np.linalg.solve(scatter, means[1] - means[0])
        for buffer, values in (
            (self.centre, centre),
            (self.spread, spread),
            (self.weight, weight),
            (self.offset, -weight @ (means[0] + means[1]) / 2),
        ):
            buffer.copy_(torch.as_tensor(values))


def profiles(covariance: Tensor) -> Tensor:
    """Row means and variances of frame covariances, in the order of their frames, at `POINTS` places each.

    Args:
        covariance: (B, K, K) in [0, 1], frames in ascending order of their row sums. Rows of zeros at the end are padding of
            clips with fewer frames: they are left out, so that the features do not tell a clip's length.

    Returns:
        (B, `PROFILE_SIZE`) float64.
    """
    covariance = covariance.double()
    size = covariance.shape[1]
    order = torch.arange(1, size + 1, device=covariance.device)
    rows = (covariance.any(dim=2) * order).amax(dim=1).clamp(min=1)
    means = covariance.sum(dim=2) / rows[:, None]
    variances = covariance.diagonal(dim1=1, dim2=2)
    place = torch.linspace(0, 1, POINTS, device=covariance.device, dtype=torch.float64) * (rows[:, None] - 1)
    before = place.floor().long()
    after = (before + 1).clamp(max=size - 1)
    share = place - before
    read = [
        profile.gather(1, before) * (1 - share) + profile.gather(1, after) * share for profile in (means, variances)
    ]
    return torch.cat(read, dim=1)
