"""Fisher's linear discriminant (1936) on standardised features, as buffers of an expert."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SIZED_BUFFERS = ("centre", "spread", "weight")


class LinearDiscriminant(nn.Module):
    """Base class of modules that score features with a linear discriminant, fitted by `engine.fitting.discriminant`.

    Attributes:
        centre: (D,) mean of the features over the training examples.
        spread: (D,) their standard deviation.
        weight: (D,) direction of the discriminant.
        offset: () offset of the discriminant.
    """

    centre: Tensor
    spread: Tensor
    weight: Tensor
    offset: Tensor

    def register_discriminant(self, size: int | None) -> None:
        """Add the buffers.

        Args:
            size: D, for a random direction. `None` if D is only known after fitting or loading; until then D is 1, the weight
                is 0 and `is_fitted` is false.
        """
        self._adopts_size = size is None
        self.register_buffer("centre", torch.zeros(size or 1))
        self.register_buffer("spread", torch.ones(size or 1))
        self.register_buffer("weight", torch.zeros(1) if size is None else torch.randn(size))
        self.register_buffer("offset", torch.zeros(()))

    @property
    def is_fitted(self) -> Tensor:
        """() bool: whether the discriminant has a direction."""
        return self.weight.any()

    def discriminant(self, features: Tensor) -> Tensor:
        """Score features.

        Args:
            features: (N, D).

        Returns:
            (N,) float64 scores. They are log-odds if the features of both classes are normal with the same covariance.
        """
        standard = (features.double() - self.centre.double()) / self.spread.double()
        return (standard * self.weight.double()).sum(dim=1) + self.offset.double()

    def resize(self, size: int) -> None:
        """Resize the buffers for features (N, `size`)."""
        for name in SIZED_BUFFERS:
            setattr(self, name, torch.zeros(size, dtype=torch.float32, device=self.offset.device))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take the stored size if the config does not set it; otherwise torch raises on a size mismatch."""
        stored = state_dict.get(f"{prefix}weight")
        if self._adopts_size and isinstance(stored, Tensor) and stored.dim() == 1:
            self.resize(len(stored))
        super()._load_from_state_dict(state_dict, prefix, *rest)
