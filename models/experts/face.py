"""The face expert: detects synthesised faces or face parts from single frames and pairs of frames.

It adds two z-scores over real clips: *texture*, a linear direction in statistics of an ImageNet network's first stages
(`RegionTexture`, `FisherDirection`), and *place*, the mean logit of small forgery localizers (`ForgeryLocalizer`). Both are
trained on real clips and pseudo-fakes made from them, see `dataset.pseudo_fakes.face`.
"""

from __future__ import annotations

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from dataset.batch import Batch
from models.blocks.fisher import FisherDirection
from models.blocks.forgery_localizer import ForgeryLocalizer
from models.blocks.region_texture import RegionTexture, Weights
from models.experts.base import EXPERTS, Expert, ExpertConfig, score_each


class FaceConfig(ExpertConfig):
    """Config of the face expert."""

    backbone: str = Field("tf_efficientnet_lite0", description="any timm name with stages; the first three are used")
    weights: Weights = Field(
        "package",
        description="ImageNet weights for fitting: from a Python package (requirements-weights.txt), from timm, or none",
    )
    place_nets: int = Field(3, ge=1, le=20, description="number of forgery localizers; their scores are averaged")
    place_steps: int = Field(400, ge=1, description="training steps of each localizer")


@EXPERTS.register("face", FaceConfig)
class FaceExpert(Expert):
    """The face expert. Its weights, including the backbone's first stages, are stored in the checkpoint.

    Attributes:
        centre: (2,) medians of the raw texture and place scores over the real clips that it was fitted on.
        spread: (2,) their standard deviations.
    """

    inputs = ("face",)
    centre: Tensor
    spread: Tensor

    def __init__(self, config: FaceConfig) -> None:
        """Start with random weights.

        Raises:
            UsageError: the backbone is unknown to timm, or has no stages.
        """
        super().__init__(config)
        self.weights = config.weights
        self.place_steps = config.place_steps
        self.texture = RegionTexture(config.backbone)
        self.direction = FisherDirection(self.texture.size)
        self.places = nn.ModuleList([ForgeryLocalizer() for _ in range(config.place_nets)])
        self.register_buffer("centre", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))
        self.eval()

    def train(self, mode: bool = True) -> FaceExpert:
        """Stay in evaluation mode; the expert's fitter trains the localizers separately."""
        return super().train(False)

    def mask(self, batch: Batch) -> Tensor:
        """Return a mask (B,) bool of the clips with a face."""
        return batch.inputs["face"].mask

    def raw(self, batch: Batch) -> Tensor:
        """Return the sum of both z-scores, (B,) float32."""
        face = batch.inputs["face"]
        return score_each(face.mask, lambda row: self.score(face.values[row]))

    def score(self, pairs: Tensor) -> Tensor:
        """Score one clip.

        Args:
            pairs: (P, 2, 112, 112, 3) uint8 RGB.

        Returns:
            () float32, higher for forged.
        """
        parts = torch.stack([self.direction(self.texture(pairs[:, 0])), self.place(pairs)])
        return ((parts - self.centre) / self.spread).sum()

    def place(self, pairs: Tensor) -> Tensor:
        """Return the mean pair logit () of the localizers."""
        nets = cast(list[ForgeryLocalizer], list(self.places))
        planes = nets[0].planes(pairs)
        return torch.stack([net.localise(planes)[1].mean() for net in nets]).mean()
