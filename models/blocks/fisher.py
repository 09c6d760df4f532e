"""Fisher's linear direction between real and forged faces."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLIP = 4.0
"""Bound of the standardised features, so that a single outlying channel cannot dominate the score."""


class FisherDirection(nn.Module):
    """Projection of standardised and clipped features. `engine.fitting.face_direction` fits the direction.

    Scores of the real clips used for fitting have a median of 0 and unit standard deviation within groups.
    """

    median: Tensor
    spread: Tensor
    weight: Tensor
    offset: Tensor

    def __init__(self, size: int) -> None:
        """Start with a random direction in `size` dimensions."""
        super().__init__()
        self.register_buffer("median", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.register_buffer("weight", torch.randn(size) / size**0.5)
        self.register_buffer("offset", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return the scores (...,) float32 of features (..., D), higher for forged."""
        scaled = ((features - self.median) / self.spread).clamp(-CLIP, CLIP)
        return (scaled * self.weight).sum(dim=-1) - self.offset
