"""The motion expert: detects faces that move more smoothly than filmed ones.

A face rendered frame by frame from audio or a driving video moves smoothly. A filmed face moves
irregularly: muscles act in bursts, hands and cameras shake, and sensors add noise. The expert measures how well a step of
motion predicts the next one. It is fitted on real clips only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dataset.batch import Batch
from models.experts.base import EXPERTS, Expert, ExpertConfig
from utils.features.face.motion import MOTION_HZ

LEAST_STEPS = MOTION_HZ
"""The expert abstains below this number of steps: one second of a face."""

LARGEST_Z = 4.0
"""Bound of each z-score, so that one statistic of an unusual clip cannot dominate the score."""

TINY = 1e-9


class MotionConfig(ExpertConfig):
    """Config of the motion expert. It has no settings."""


@EXPERTS.register("motion", MotionConfig)
class MotionExpert(Expert):
    """The motion expert: the sum of two z-scores over real clips, of the face's velocity and of the eyes' brightness.

    Attributes:
        centre: (2,) medians of both statistics over the real clips that it was fitted on.
        spread: (2,) their robust standard deviations.
    """

    inputs = ("motion",)
    centre: Tensor
    spread: Tensor

    def __init__(self, config: MotionConfig) -> None:
        """Start with a centre of 0 and a spread of 1."""
        super().__init__(config)
        self.register_buffer("centre", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(2, dtype=torch.float64))

    def mask(self, batch: Batch) -> Tensor:
        """Return a mask (B,) bool of the clips with at least `LEAST_STEPS` steps of motion."""
        return batch.inputs["motion"].mask.sum(dim=1) >= LEAST_STEPS

    def raw(self, batch: Batch) -> Tensor:
        """Return the sum of both z-scores, (B,) float32; higher for smoother motion."""
        motion = batch.inputs["motion"]
        return self.score(smoothness(motion.values, motion.mask)).float()

    def score(self, statistics: Tensor) -> Tensor:
        """Return the sum of the z-scores (N,) of statistics (N, 2), see `smoothness`."""
        z = (statistics - self.centre) / self.spread
        return z.clamp(-LARGEST_Z, LARGEST_Z).sum(dim=1)


def smoothness(motion: Tensor, mask: Tensor) -> Tensor:
    """Return how well each step of a face's motion predicts the next one: the autocorrelation at a lag of one step.

    Args:
        motion: (B, T, C) of `motion_series`.
        mask: (B, T) bool, the existing steps, which come first.

    Returns:
        (B, 2) float64 in [-1, 1]: the mean over the velocities, and the value of the eyes' brightness. 0 for a face that
        does not move.
    """
    steps = motion.double()
    own = mask[..., None].double()
    count = own.sum(dim=1, keepdim=True).clamp(min=1)
    centred = (steps - (steps * own).sum(dim=1, keepdim=True) / count) * own
    correlation = (centred[:, 1:] * centred[:, :-1]).sum(dim=1) / (centred.square().sum(dim=1) + TINY)
    return torch.stack([correlation[:, :-1].mean(dim=1), correlation[:, -1]], dim=1)
