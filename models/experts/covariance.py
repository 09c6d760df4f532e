"""The covariance expert: a linear discriminant on the published frame covariance of colour histograms.

It is trained on labelled fakes, because no pseudo-fakes reproduce the covariance of actual forgeries.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from dataset.batch import Batch
from models.blocks.discriminant import LinearDiscriminant
from models.experts.base import EXPERTS, Expert, ExpertConfig
from utils.errors import UsageError
from utils.features.config import FeatureConfig

POINTS = 32
"""Number of evenly spaced positions at which a profile is sampled, regardless of K and the number of frames."""

PROFILE_SIZE = 2 * POINTS


class CovarianceConfig(ExpertConfig):
    """Config of the covariance expert."""

    ridge: float = Field(1.0, gt=0, description="added to the scatter of the standardised features")


@EXPERTS.register("covariance", CovarianceConfig)
class CovarianceExpert(LinearDiscriminant, Expert):
    """The covariance expert."""

    inputs = ("covariance",)

    def __init__(self, config: CovarianceConfig) -> None:
        """Start with a random direction."""
        super().__init__(config)
        self.ridge = config.ridge
        self.register_discriminant(PROFILE_SIZE)

    @classmethod
    def check_features(cls, features: FeatureConfig) -> None:
        """Check that the covariance between frames is configured."""
        if features.video.covariance != "frames":
            raise UsageError("the covariance expert needs features.video.covariance=frames")

    def mask(self, batch: Batch) -> Tensor:
        """Return a mask (B,) bool of the clips with a covariance."""
        return batch.inputs["covariance"].mask

    def raw(self, batch: Batch) -> Tensor:
        """Return the discriminant's scores, (B,) float32."""
        return self.discriminant(profiles(batch.inputs["covariance"].values)).float()


def profiles(covariance: Tensor) -> Tensor:
    """Sample the row means and the variances of frame covariances at `POINTS` positions each, in frame order.

    Args:
        covariance: (B, K, K) in [0, 1], with frames in ascending order of their row sums. Trailing zero rows, which pad clips
            with fewer frames, are ignored so that the features do not reveal a clip's length.

    Returns:
        (B, `PROFILE_SIZE`) float64.
    """
    covariance = covariance.double()
    size = covariance.shape[1]
    order = torch.arange(1, size + 1, device=covariance.device)
    rows = (covariance.any(dim=2) * order).amax(dim=1).clamp(min=1)
    means = covariance.sum(dim=2) / rows[:, None]
    variances = covariance.diagonal(dim1=1, dim2=2)
    position = torch.linspace(0, 1, POINTS, device=covariance.device, dtype=torch.float64) * (rows[:, None] - 1)
    before = position.floor().long()
    after = (before + 1).clamp(max=size - 1)
    share = position - before
    sampled = [
        profile.gather(1, before) * (1 - share) + profile.gather(1, after) * share for profile in (means, variances)
    ]
    return torch.cat(sampled, dim=1)
