"""Base class of experts that score a clip window by window and average the log-odds."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from dataset.batch import Batch
from models.experts.base import Expert


class WindowExpert(Expert):
    """An expert whose input is a sequence of windows, each with a row of features."""

    def windows(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the windows' features (B, W, D) float32 and the mask (B, W) bool of existing windows."""
        (name,) = self.inputs
        return batch.inputs[name].values, batch.inputs[name].mask

    @abstractmethod
    def score_windows(self, features: Tensor) -> Tensor:
        """Return the log-odds of fake (N,) float64 of windows (N, D) float32."""

    def mask(self, batch: Batch) -> Tensor:
        """Return a mask (B,) bool of the clips with at least one window."""
        return self.windows(batch)[1].any(dim=1)

    def raw(self, batch: Batch) -> Tensor:
        """Return the mean log-odds over each clip's windows, (B,) float32."""
        features, own = self.windows(batch)
        scores = self.score_windows(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        return (torch.where(own, scores, 0).sum(dim=1) / own.sum(dim=1).clamp(min=1)).float()
