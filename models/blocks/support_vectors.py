"""A support-vector machine with a Gaussian kernel, as plain tensors: it loads without pickle or scikit-learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SupportVectors(nn.Module):
    """The decision function of a fitted support-vector machine (Boser et al., 1992).

    Attributes:
        centre: (D,) subtracted from the features.
        scale: (D,) multiplied with the centred features.
        vectors: (M, D) float16, the scaled support vectors.
        weights: (M,) float32, their weights.
        offset: () float32.
    """

    centre: Tensor
    scale: Tensor
    vectors: Tensor
    weights: Tensor
    offset: Tensor

    def __init__(self, size: int, gamma: float) -> None:
        """Start without a vector, so that every score is 0.

        Args:
            size: D.
            gamma: the kernel is exp(-gamma * squared distance).
        """
        super().__init__()
        self.gamma = gamma
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("vectors", torch.zeros(0, size, dtype=torch.float16))
        self.register_buffer("weights", torch.zeros(0))
        self.register_buffer("offset", torch.zeros(()))

    def scaled(self, features: Tensor) -> Tensor:
        """Return features (N, D) centred and scaled. They are limited to the range of the stored vectors."""
        # Without the limit, features far from all examples would overflow when squared, and their score would be NaN.
        limit = torch.finfo(self.vectors.dtype).max
        return ((features - self.centre) * self.scale).clamp(-limit, limit)

    def forward(self, features: Tensor) -> Tensor:
        """Return the decision values (N,) float32 of features (N, D) float32; above 0 for the second class."""
        vectors, rows = self.vectors.float(), self.scaled(features)
        products = (rows @ vectors.T).double()
        squared = rows.double().square().sum(dim=1)[:, None] + vectors.double().square().sum(dim=1) - 2 * products
        # The terms are large and mostly cancel, so their sum needs double precision.
        return (torch.exp(-self.gamma * squared.clamp(min=0)) @ self.weights.double() + self.offset).float()

    def _load_from_state_dict(self, state_dict, prefix, *arguments, **keywords) -> None:  # type: ignore[no-untyped-def]
        # The number of vectors depends on the fit, so resize before torch compares the shapes.
        stored = state_dict.get(prefix + "weights")
        if isinstance(stored, Tensor) and stored.dim() == 1:
            device, size = self.weights.device, self.centre.numel()
            self.vectors = torch.empty(len(stored), size, dtype=self.vectors.dtype, device=device)
            self.weights = torch.empty(len(stored), device=device)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **keywords)
