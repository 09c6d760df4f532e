"""System B: an image classifier on the mel picture alone. It never sees a frame, so a face swap is invisible to it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from dataset.batch import Batch
from models.base import Detector, DetectorConfig, DetectorOutput
from models.blocks.backbone import create_backbone
from models.blocks.picture import PictureInput
from models.registry import MODELS
from utils.features.config import FeatureConfig


class MelBaselineConfig(DetectorConfig):
    """Config of System B."""

    name: Literal["mel_baseline"] = "mel_baseline"
    backbone: str = Field("efficientnet_b1", description="any timm name")
    image_size_px: int = Field(256, ge=64, le=1024)


@MODELS.register("mel_baseline", MelBaselineConfig)
class MelBaseline(Detector):
    """System B. Its only term is `mel`; the notebook's two classes are one logit, z1 - z0, here."""

    def __init__(self, config: MelBaselineConfig, features: FeatureConfig) -> None:
        """Build the backbone with a one-logit head."""
        super().__init__()
        self.picture = PictureInput(config.image_size_px)
        self.backbone, self.initialisation = create_backbone(
            config.backbone,
            pretrained=config.pretrained,
            weights=config.weights,
            num_classes=1,
            image_size_px=config.image_size_px,
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """See `Detector.terms`."""
        return ("mel",)

    def usable(self, batch: Batch) -> Tensor:
        """(B,) bool: clips with audio."""
        return batch.has_mel

    def forward(self, batch: Batch) -> DetectorOutput:
        """See `Detector.forward`."""
        return DetectorOutput({"mel": self.backbone(self.picture(batch.mel)).squeeze(1)})
