"""A support-vector machine with a Gaussian kernel, as plain tensors: it loads without pickle or scikit-learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGEST_LEVEL = 127
CHUNK = 512
"""Number of vectors that are compared at a time."""

FARTHEST = 65_504.0
"""Limit of scaled features: the largest float16 number, since vectors were stored as such in early checkpoints."""


class SupportVectors(nn.Module):
    """The decision function of a fitted support-vector machine (Boser et al., 1992).

    Attributes:
        centre: (D,) subtracted from the features.
        scale: (D,) multiplied with the centred features.
        vectors: (M, D) int8, the scaled support vectors in units of `step`. Earlier checkpoints have float16.
        step: (D,) float32, the value of one level of each feature.
        squared_norms: (M,) float64 of the vectors in their own units; not stored in checkpoints.
        weights: (M,) float32, their weights.
        offset: () float32.
    """

    centre: Tensor
    scale: Tensor
    vectors: Tensor
    step: Tensor
    squared_norms: Tensor
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
        self.register_buffer("vectors", torch.zeros(0, size, dtype=torch.int8))
        self.register_buffer("step", torch.ones(size))
        self.register_buffer("squared_norms", torch.zeros(0, dtype=torch.float64), persistent=False)
        self.register_buffer("weights", torch.zeros(0))
        self.register_buffer("offset", torch.zeros(()))

    def scaled(self, features: Tensor) -> Tensor:
        """Return features (N, D) centred and scaled, in [-`FARTHEST`, `FARTHEST`]."""
        # Without the limit, the squares of features far from all examples would overflow, and their score would be NaN.
        return ((features - self.centre) * self.scale).clamp(-FARTHEST, FARTHEST)

    def set_step(self, rows: Tensor) -> None:
        """Set `step` so that the levels cover scaled features (N, D)."""
        self.step.copy_(rows.abs().amax(dim=0).clamp(min=torch.finfo(torch.float32).tiny) / LARGEST_LEVEL)

    def levels(self, rows: Tensor) -> Tensor:
        """Return scaled features (N, D) in units of `step`, rounded to int8."""
        return (rows / self.step).round().clamp(-LARGEST_LEVEL, LARGEST_LEVEL).to(torch.int8)

    def set_vectors(self, levels: Tensor, weights: Tensor) -> None:
        """Set the support vectors (M, D), in units of `step`, which must be set before, and their weights (M,)."""
        self.vectors, self.weights = levels, weights
        parts = [(part * self.step).double().square().sum(dim=1) for part in levels.split(CHUNK)]
        self.squared_norms = torch.cat(parts)

    def forward(self, features: Tensor) -> Tensor:
        """Return the decision values (N,) float32 of features (N, D) float32; above 0 for the second class."""
        rows = self.scaled(features)
        own = rows.double().square().sum(dim=1)[:, None]
        values = self.offset.double()
        # Few vectors at a time, since a converted copy of all would need 100 MB.
        chunks = (series.split(CHUNK) for series in (self.vectors, self.squared_norms, self.weights))
        for levels, norms, weights in zip(*chunks, strict=True):
            products = (rows @ (levels * self.step).T).double()
            # The terms are large and mostly cancel, so their sum needs double precision.
            squared = own + norms - 2 * products
            values = values + torch.exp(-self.gamma * squared.clamp(min=0)) @ weights.double()
        return values.float()

    def _load_from_state_dict(self, state_dict, prefix, *arguments, **keywords) -> None:  # type: ignore[no-untyped-def]
        # The number and the type of the vectors depend on the fit, so replace the buffers before torch compares shapes.
        weights, vectors = state_dict.get(prefix + "weights"), state_dict.get(prefix + "vectors")
        if isinstance(weights, Tensor) and weights.dim() == 1:
            device, size = self.weights.device, self.centre.numel()
            halves = isinstance(vectors, Tensor) and vectors.dtype == torch.float16
            dtype = torch.float16 if halves else torch.int8
            self.vectors = torch.empty(len(weights), size, dtype=dtype, device=device)
            self.weights = torch.empty(len(weights), device=device)
            if halves:
                state_dict.setdefault(prefix + "step", torch.ones(size))
        super()._load_from_state_dict(state_dict, prefix, *arguments, **keywords)
        self.set_vectors(self.vectors, self.weights)
