"""The voice expert: is the sound synthesised or edited? It never sees a frame.

One forest of extremely randomised trees (Geurts et al., 2006) per block of voice features; log-odds are averaged over the
blocks, then over the clip's windows. Trained on real voices and pseudo-fakes of them, see `dataset.pseudo_fakes`.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from dataset.batch import Batch
from models.experts.base import EXPERTS, ExpertConfig
from models.experts.forest import PackedForest
from models.experts.windows import WindowExpert
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.features.voice import BLOCK_SIZES

LEAST_CHANCE = 1e-4
"""A forest is never surer than this: otherwise one block of unanimous trees would decide alone."""

LEAST_ROWS_PER_LEAF = 4


class VoiceConfig(ExpertConfig):
    """Config of the voice expert."""

    trees: int = Field(100, ge=1, le=1000, description="trees per block of features")


@EXPERTS.register("voice", VoiceConfig)
class VoiceExpert(WindowExpert):
    """The voice expert."""

    def __init__(self, config: VoiceConfig) -> None:
        """Begin with random trees."""
        super().__init__(config)
        self.trees = config.trees
        self.forests = nn.ModuleDict({block: PackedForest(config.trees, size) for block, size in BLOCK_SIZES.items()})

    @classmethod
    def check_features(cls, features: FeatureConfig) -> None:
        """See `Expert.check_features`."""
        if not features.voice:
            raise UsageError("the voice expert needs features.voice=true")

    def windows(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `WindowExpert.windows`."""
        return batch.voice, batch.has_voice

    def score_windows(self, features: Tensor) -> Tensor:
        """Log-odds of fake (N,) float64 of windows (N, D) float32, the mean over the blocks."""
        blocks = features.split(list(BLOCK_SIZES.values()), dim=1)
        log_odds = []
        for forest, columns in zip(self.forests.values(), blocks, strict=True):
            chance = forest(columns).clamp(LEAST_CHANCE, 1 - LEAST_CHANCE)
            log_odds.append(torch.logit(chance))
        return torch.stack(log_odds).mean(dim=0)

    def fit(self, features: np.ndarray, is_fake: np.ndarray, weights: np.ndarray, *, seed: int = 0) -> None:
        """Grow the trees; see `WindowExpert.fit`."""
        from sklearn.ensemble import ExtraTreesClassifier

        ends = np.cumsum(list(BLOCK_SIZES.values()))[:-1]
        for number, (block, columns) in enumerate(zip(BLOCK_SIZES, np.split(features, ends, axis=1), strict=True)):
            forest = ExtraTreesClassifier(
                self.trees, min_samples_leaf=LEAST_ROWS_PER_LEAF, random_state=seed + number, n_jobs=1
            )
            forest.fit(columns, is_fake, sample_weight=weights)
            cast(PackedForest, self.forests[block]).load_trees(forest)
