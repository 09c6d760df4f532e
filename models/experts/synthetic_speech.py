"""The synthetic-speech expert: detects synthesised, converted and vocoded voices. It is trained on labelled voices.

A support-vector machine scores short utterances by their voice features and by the statistics of a frozen network on their
spectrogram. The voice expert needs only real clips. The synthetic-speech expert needs utterances of many synthesisers and
performs better on synthesisers that neither expert was trained on.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from dataset.batch import Batch
from models.blocks.speech_texture import STATISTICS_SIZE, SpeechTexture, Weights
from models.blocks.support_vectors import SupportVectors
from models.experts.base import EXPERTS, Expert, ExpertConfig, score_each
from utils.features.voice import VOICE_SIZE

STATISTICS = VOICE_SIZE + STATISTICS_SIZE
"""Length of an utterance's features: its voice features, then the network's statistics."""


class SyntheticSpeechConfig(ExpertConfig):
    """Config of the synthetic-speech expert."""

    weights: Weights = Field(
        "package",
        description="weights of the network when fitting: package (from requirements-weights.txt) or none (random)",
    )
    noise_suppression: Literal["none", "package"] = Field(
        "none",
        description="package: also fit on copies after noise suppression (requirements-noise.txt); none: not",
    )
    cost: float = Field(4.0, gt=0, description="C of the support-vector machine")
    gamma: float = Field(0.5, gt=0, description="gamma of its RBF kernel")
    processed_weight: float = Field(
        0.25, ge=0, description="weight of a post-processed copy in the fit, relative to the utterance itself"
    )


@EXPERTS.register("synthetic_speech", SyntheticSpeechConfig)
class SyntheticSpeechExpert(Expert):
    """The synthetic-speech expert. The network's weights are stored in the checkpoint."""

    inputs = ("utterance", "utterance_voice")

    def __init__(self, config: SyntheticSpeechConfig) -> None:
        """Start unfitted, with random network weights."""
        super().__init__(config)
        self.config = config
        self.texture = SpeechTexture()
        self.machine = SupportVectors(STATISTICS, config.gamma)
        self.eval()

    def mask(self, batch: Batch) -> Tensor:
        """Return a mask (B,) bool of the clips with at least one utterance."""
        return batch.inputs["utterance"].present

    def raw(self, batch: Batch) -> Tensor:
        """Return the mean decision value over each clip's utterances, (B,) float32."""
        utterance, voice = batch.inputs["utterance"], batch.inputs["utterance_voice"]

        def score(row: int) -> Tensor:
            (waveforms, own), (features, _) = utterance.entries(row), voice.entries(row)
            return self.score(self.statistics(waveforms, features), own)

        return score_each(utterance.present, score)

    def statistics(self, waveforms: Tensor, voice: Tensor) -> Tensor:
        """Return the features (W, D) float32 of utterances with waveforms (W, S) and voice features (W, V)."""
        return torch.cat([voice, self.texture(waveforms)], dim=1)

    def score(self, statistics: Tensor, own: Tensor | None = None) -> Tensor:
        """Return the mean decision value () of a clip's utterances (W, D), of those in `own` (W,) bool if it is given."""
        values = self.machine(statistics)
        return values.mean() if own is None else torch.where(own, values, 0).sum() / own.sum().clamp(min=1)
