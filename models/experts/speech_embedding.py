"""The speech-embedding expert: detects forged voices in the embeddings of a frozen speech encoder.

For each 2-s window, a linear discriminant scores the mean and standard deviation of the embeddings over time. It is trained on
real voices and the voice expert's pseudo-fakes.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from dataset.batch import Batch
from models.blocks.discriminant import LinearDiscriminant
from models.experts.base import EXPERTS, ExpertConfig
from models.experts.windows import WindowExpert
from utils.features.config import FeatureConfig
from utils.features.speech_embedding import SpeechEmbeddingFeature


class SpeechEmbeddingConfig(ExpertConfig):
    """Config of the speech-embedding expert; its encoder is `features.speech_encoder`."""

    ridge: float = Field(1.0, gt=0, description="added to the scatter of the standardised features")


@EXPERTS.register("speech_embedding", SpeechEmbeddingConfig)
class SpeechEmbeddingExpert(LinearDiscriminant, WindowExpert):
    """The speech-embedding expert. It abstains until fitted, because the embedding size depends on the encoder."""

    inputs = ("speech_embedding",)

    def __init__(self, config: SpeechEmbeddingConfig) -> None:
        """Start unfitted."""
        super().__init__(config)
        self.ridge = config.ridge
        self.register_discriminant(None)

    @classmethod
    def check_features(cls, features: FeatureConfig) -> None:
        """Check that the config names an encoder."""
        SpeechEmbeddingFeature(features).check()

    def windows(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the windows and their mask, which is false until the expert is fitted."""
        values, mask = super().windows(batch)
        return values, mask & self.is_fitted

    def score_windows(self, features: Tensor) -> Tensor:
        """Return the discriminant's scores (N,) float64 of windows (N, D)."""
        return self.discriminant(features)
