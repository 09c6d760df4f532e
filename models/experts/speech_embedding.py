"""The speech-embedding expert: does a frozen speech encoder hear a forged voice? It never sees a frame.

Mean and standard deviation over time of the encoder's embeddings of 2-s windows, read by a linear discriminant (Fisher,
1936) whose scatter is ridge-regularised. Trained on real voices and the same pseudo-fakes of them as the voice expert.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dataset.batch import Batch
from models.experts.base import EXPERTS, ExpertConfig
from models.experts.windows import WindowExpert
from utils.errors import UsageError
from utils.features.config import FeatureConfig

LEAST_SPREAD = 1e-6


class SpeechEmbeddingConfig(ExpertConfig):
    """Config of the speech-embedding expert; its encoder is `features.speech_encoder`."""

    ridge: float = Field(1.0, gt=0, description="added to the scatter of the standardised features")


@EXPERTS.register("speech_embedding", SpeechEmbeddingConfig)
class SpeechEmbeddingExpert(WindowExpert):
    """The speech-embedding expert.

    Attributes:
        centre: (E,) and `spread` (E,): mean and standard deviation of the features over the rows it was fitted on.
        weight: (E,) the discriminant's direction.
        offset: () what it adds.

    How long an embedding is depends on the encoder: until it is fitted or loaded, E is 1 and there is no opinion.
    """

    centre: Tensor
    spread: Tensor
    weight: Tensor
    offset: Tensor

    def __init__(self, config: SpeechEmbeddingConfig) -> None:
        """Begin without an opinion."""
        super().__init__(config)
        self.ridge = config.ridge
        for name, value in (("centre", 0.0), ("spread", 1.0), ("weight", 0.0)):
            self.register_buffer(name, torch.full((1,), value))
        self.register_buffer("offset", torch.zeros(()))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take on the encoder's size, which torch's own loading would refuse."""
        for name in ("centre", "spread", "weight"):
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.offset.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @classmethod
    def check_features(cls, features: FeatureConfig) -> None:
        """See `Expert.check_features`."""
        if features.speech_encoder is None:
            raise UsageError("the speech_embedding expert needs features.speech_encoder, the name of an encoder")

    def windows(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `WindowExpert.windows`."""
        return batch.embedding, batch.has_embedding & self.weight.any()

    def score_windows(self, features: Tensor) -> Tensor:
        """The discriminant (N,) float64, log-odds where the features are normal with one scatter for both classes."""
        standard = (features.double() - self.centre.double()) / self.spread.double()
        return (standard * self.weight.double()).sum(dim=1) + self.offset.double()

    @torch.no_grad()
    def fit(self, features: np.ndarray, is_fake: np.ndarray, weights: np.ndarray, *, seed: int = 0) -> None:
        """Fit the discriminant; see `WindowExpert.fit`. Nothing is drawn, so every seed gives the same."""
        share = weights / weights.sum()
        rows = features.astype(np.float64)
        centre = share @ rows
        spread = np.sqrt(share @ (rows - centre) ** 2) + LEAST_SPREAD
        standard = (rows - centre) / spread
        fake = is_fake.astype(bool)
        means = [share[chosen] @ standard[chosen] / share[chosen].sum() for chosen in (~fake, fake)]
        rest = standard - np.where(fake[:, None], means[1], means[0])
        scatter = (share[:, None] * rest).T @ rest + self.ridge * np.eye(rest.shape[1])
        weight = np.linalg.solve(scatter, means[1] - means[0])
        self.centre, self.spread, self.weight = (
            torch.as_tensor(values, dtype=torch.float32, device=self.offset.device)
            for values in (centre, spread, weight)
        )
        self.offset.fill_(float(-weight @ (means[0] + means[1]) / 2))
