"""The face expert: was the face, or a part of it, drawn anew? It looks at single frames and at pairs of them.

Two judges, each as a z-score over real clips, add up: *texture*, a linear direction in statistics of an ImageNet network's
first stages (`RegionTexture`, `FisherDirection`), and *place*, small networks that mark the forged area (`PlaceNet`). Both
learn from real clips and pseudo-fakes of them alone, see `dataset.pseudo_fakes.face`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor, nn

from dataset.batch import Batch
from models.blocks.fisher import FisherDirection
from models.blocks.place_net import PlaceNet
from models.blocks.region_texture import RegionTexture, Weights
from models.experts.base import EXPERTS, Expert, ExpertConfig
from utils.errors import UsageError
from utils.features.config import FeatureConfig

LEAST_SPREAD = 1e-3


class FaceConfig(ExpertConfig):
    """Config of the face expert."""

    backbone: str = Field(
        "tf_efficientnet_lite0", description="any timm name with stages; the first three are looked at"
    )
    weights: Weights = Field(
        "package",
        description="its ImageNet weights when fitting: package: requirements-weights.txt; timm: its hub; none",
    )
    place_nets: int = Field(3, ge=1, le=20, description="networks that mark the forged area; their mean counts")
    place_steps: int = Field(400, ge=1, description="training steps of each")


@EXPERTS.register("face", FaceConfig)
class FaceExpert(Expert):
    """The face expert. Its weights, the backbone's first stages among them, travel with the checkpoint.

    Attributes:
        centre: (2,) median of texture's and place's raw scores over the real clips it was fitted on.
        spread: (2,) their standard deviations.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, config: FaceConfig) -> None:
        """Begin with random weights.

        Raises:
            UsageError: timm has no such backbone, or it has no stages.
        """
        super().__init__(config)
        self.weights = config.weights
        self.place_steps = config.place_steps
        self.texture = RegionTexture(config.backbone)
        self.direction = FisherDirection(self.texture.size)
        self.places = nn.ModuleList([PlaceNet() for _ in range(config.place_nets)])
        self.register_buffer("centre", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))
        self.eval()

    @classmethod
    def check_features(cls, features: FeatureConfig) -> None:
        """See `Expert.check_features`."""
        if not features.face:
            raise UsageError("the face expert needs features.face=true")

    def train(self, mode: bool = True) -> FaceExpert:
        """Stay in evaluation mode: the place nets are trained one by one when the expert is fitted, not in its company."""
        return super().train(False)

    def mask(self, batch: Batch) -> Tensor:
        """(B,) bool: clips with a face."""
        return batch.has_face

    def raw(self, batch: Batch) -> Tensor:
        """(B,) float32: the sum of both z-scores."""
        scores = torch.zeros(len(batch), device=batch.face_pairs.device)
        for row in torch.nonzero(batch.has_face).flatten().tolist():
            # One by one: a clip's score is the same to the last bit whatever stands beside it.
            scores[row] = self.score(batch.face_pairs[row])
        return scores

    def score(self, pairs: Tensor) -> Tensor:
        """Pairs (P, 2, 112, 112, 3) uint8 of one clip -> () float32, higher for forged."""
        parts = torch.stack([self.direction(self.texture(pairs[:, 0])), self.place(pairs)])
        return ((parts - self.centre) / self.spread).sum()

    def place(self, pairs: Tensor) -> Tensor:
        """Mean pair logit () of the place nets."""
        return torch.stack([net(pairs)[1].mean() for net in self.places]).mean()

    @torch.no_grad()
    def level(self, texture: Iterable[float], place: Iterable[float]) -> None:
        """Set centre and spread from the raw scores of real clips."""
        for number, scores in enumerate((texture, place)):
            values = torch.tensor(list(scores), dtype=torch.float64)
            self.centre[number] = values.median()
            self.spread[number] = values.std(correction=0).clamp(min=LEAST_SPREAD)
