"""The voice expert: detects synthesised or edited voices from the waveform alone.

It has one forest of extremely randomised trees (Geurts et al., 2006) per block of voice features. Log-odds are averaged over
the blocks, then over the clip's windows. It is trained on real voices and pseudo-fakes made from them, see
`dataset.pseudo_fakes.voice`.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from models.experts.base import EXPERTS, ExpertConfig
from models.experts.forest import PackedForest
from models.experts.windows import WindowExpert
from utils.features.voice import BLOCK_SIZES

LEAST_PROBABILITY = 1e-4
"""Bound of a forest's probabilities, so that a block whose trees agree cannot dominate the others."""


class VoiceConfig(ExpertConfig):
    """Config of the voice expert."""

    trees: int = Field(100, ge=1, le=1000, description="trees per block of features")


@EXPERTS.register("voice", VoiceConfig)
class VoiceExpert(WindowExpert):
    """The voice expert."""

    inputs = ("voice",)

    def __init__(self, config: VoiceConfig) -> None:
        """Start with random trees."""
        super().__init__(config)
        self.trees = config.trees
        self.forests = nn.ModuleDict({block: PackedForest(config.trees, size) for block, size in BLOCK_SIZES.items()})

    def score_windows(self, features: Tensor) -> Tensor:
        """Return the mean log-odds over the blocks, (N,) float64, of windows (N, D) float32."""
        blocks = features.split(list(BLOCK_SIZES.values()), dim=1)
        log_odds = []
        for forest, columns in zip(self.forests.values(), blocks, strict=True):
            probability = forest(columns).clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
            log_odds.append(torch.logit(probability))
        return torch.stack(log_odds).mean(dim=0)
