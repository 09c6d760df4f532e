"""Experts that judge a clip window by window: its log-odds are the mean over its own windows."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from dataset.batch import Batch
from models.experts.base import Expert


class WindowExpert(Expert):
    """An expert of windows that are rows of features."""

    @abstractmethod
    def windows(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The features (B, W, D) float32, and which windows are the clip's own (B, W) bool."""

    @abstractmethod
    def score_windows(self, features: Tensor) -> Tensor:
        """Log-odds of fake (N,) float64 of windows (N, D) float32."""

    @abstractmethod
    def fit(self, features: np.ndarray, is_fake: np.ndarray, weights: np.ndarray, *, seed: int = 0) -> None:
        """Learn.

        Args:
            features: (N, D) float32 windows.
            is_fake: (N,) 1 for a forged or synthetic voice, 0 for a real one; both occur.
            weights: (N,) sample weights; the classes should weigh the same in sum.
            seed: same rows and seed, same expert.
        """

    def mask(self, batch: Batch) -> Tensor:
        """(B,) bool: clips that have a window."""
        return self.windows(batch)[1].any(dim=1)

    def raw(self, batch: Batch) -> Tensor:
        """(B,) float32: the mean log-odds over each clip's own windows."""
        features, own = self.windows(batch)
        scores = torch.zeros(own.shape, dtype=torch.float64, device=own.device)
        scores[own] = self.score_windows(features[own])
        return (scores.sum(dim=1) / own.sum(dim=1).clamp(min=1)).float()
