"""System B: an image classifier on the mel-spectrogram image alone. It does not use frames, so it cannot detect face swaps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from dataset.batch import Batch
from models.base import DetectorConfig, DetectorModel, DetectorOutput
from models.blocks.backbone import create_backbone
from models.blocks.image_input import ImageInput
from models.registry import MODELS
from utils.features.config import FeatureConfig


class MelBaselineConfig(DetectorConfig):
    """Config of System B."""

    name: Literal["mel_baseline"] = "mel_baseline"
    backbone: str = Field("efficientnet_b1", description="any timm name")
    image_size_px: int = Field(256, ge=64, le=1024)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The mel-spectrogram image."""
        return ("mel",)


@MODELS.register("mel_baseline", MelBaselineConfig)
class MelBaseline(DetectorModel):
    """System B. Its only term is `mel`. The notebook's two class logits are replaced by their difference z1 - z0."""

    def __init__(self, config: MelBaselineConfig, features: FeatureConfig) -> None:
        """Build the backbone with a one-logit head."""
        super().__init__()
        self.inputs = config.inputs
        self.image = ImageInput(config.image_size_px)
        self.backbone, self.initialisation = create_backbone(
            config.backbone,
            pretrained=config.pretrained,
            weights=config.weights,
            num_classes=1,
            image_size_px=config.image_size_px,
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the output's terms; see `DetectorModel.terms`."""
        return ("mel",)

    def usable(self, batch: Batch) -> Tensor:
        """Return a mask (B,) bool of the clips with audio."""
        return batch.inputs["mel"].mask

    def forward(self, batch: Batch) -> DetectorOutput:
        """Score B usable clips; see `DetectorModel.forward`."""
        return DetectorOutput({"mel": self.backbone(self.image(batch.inputs["mel"].values)).squeeze(1)})
