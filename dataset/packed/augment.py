"""Augmentation of packed batches, as tensor operations on the device.

It applies the same changes as `dataset.augment`. Its random numbers are a hash of seed, epoch, clip and position, so a clip's
augmentation does not depend on its batch, on the process that loads it, or on the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dataset.batch import Batch, Modality
from dataset.config import AugmentConfig

N_CHANCES = 3
MIX_32 = (0x7FEB352D, -0x7B935975)
"""Multipliers of the 32-bit hash (lowbias32, C. Wellons), as signed numbers."""

MIX_64 = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
STEP_64 = np.uint64(0x9E3779B97F4A7C15)
"""Constants of SplitMix64 (Steele, Lea and Flood, 2014)."""


@dataclass(frozen=True)
class BatchAugment:
    """Random augmentation of a batch, different in each epoch and repeatable for a seed."""

    config: AugmentConfig
    seed: int
    epoch: int

    def __call__(self, batch: Batch) -> Batch:
        """Return an augmented batch. A missing modality is left unchanged."""
        keys = clip_keys(self.seed, self.epoch, batch.index.cpu().numpy())
        chances = torch.from_numpy(keys[:, :N_CHANCES] / 2.0**32).to(batch.index.device)
        inputs = dict(batch.inputs)
        if "mel" in inputs:
            mel = inputs["mel"]
            values = flip_where(mel.values, chances[:, 0] < self.config.mel_flip, axis=3)
            values = flip_where(values, chances[:, 1] < self.config.mel_flip, axis=2)
            inputs["mel"] = Modality(values, mel.mask)
        if "covariance" in inputs:
            covariance = inputs["covariance"]
            chosen = (chances[:, 2] < self.config.covariance_noise) & covariance.mask
            values = self._noisy(covariance.values, chosen, keys[:, N_CHANCES:])
            inputs["covariance"] = Modality(values, covariance.mask)
        return replace(batch, inputs=inputs)

    def _noisy(self, covariance: Tensor, chosen: Tensor, keys: np.ndarray) -> Tensor:
        """Add (gR)(gR)' with R standard normal (K, K) to the chosen matrices of (B, K, K), symmetrised."""
        rows = chosen.nonzero()[:, 0]
        if not len(rows):
            return covariance
        signed = torch.from_numpy(keys.astype(np.uint32).view(np.int32)).to(covariance.device)[rows]
        size = covariance.shape[-1]
        noise = self.config.noise_gain * standard_normal(signed, size * size).view(-1, size, size)
        changed = torch.baddbmm(covariance[rows], noise, noise.transpose(1, 2))
        return covariance.index_copy(0, rows, (changed + changed.transpose(1, 2)) / 2)


def flip_where(values: Tensor, chosen: Tensor, axis: int) -> Tensor:
    """Mirror the chosen clips of (B, 1, H, W) along an axis."""
    return torch.where(chosen[:, None, None, None], values.flip(axis), values)


def clip_keys(seed: int, epoch: int, index: np.ndarray) -> np.ndarray:
    """Return random numbers of B clips, (B, N_CHANCES + 2) uint64 below 2^32: chances and two keys."""
    state = mixed_64(np.array([seed], np.uint64) + STEP_64)
    state = mixed_64(state + np.array([epoch], np.uint64) * STEP_64)
    state = mixed_64(state + index.astype(np.uint64) * STEP_64)
    steps = np.arange(1, N_CHANCES + 3, dtype=np.uint64) * STEP_64
    return mixed_64(state[:, None] + steps) >> np.uint64(32)


def mixed_64(value: np.ndarray) -> np.ndarray:
    """Return the SplitMix64 hash of uint64 numbers."""
    value = (value ^ (value >> np.uint64(30))) * MIX_64[0]
    value = (value ^ (value >> np.uint64(27))) * MIX_64[1]
    return value ^ (value >> np.uint64(31))


def standard_normal(keys: Tensor, count: int) -> Tensor:
    """Return standard normal numbers determined by keys (Box and Muller, 1958).

    Args:
        keys: (B, 2) int32.
        count: n, the number of numbers per row.

    Returns:
        (B, n) float32.
    """
    half = (count + 1) // 2
    position = torch.arange(2 * half, dtype=torch.int32, device=keys.device)
    bits = mixed_32(mixed_32(position ^ keys[:, :1]) ^ keys[:, 1:])
    uniform = ((bits >> 8) & 0xFFFFFF).float()
    radius = torch.sqrt(-2 * torch.log((uniform[:, :half] + 1) / 2**24))
    angle = uniform[:, half:] * (2 * math.pi / 2**24)
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :count]


def mixed_32(value: Tensor) -> Tensor:
    """Return a hash of int32 numbers. Products wrap around; shifts are made logical by masks."""
    value = (value ^ ((value >> 16) & 0xFFFF)) * MIX_32[0]
    value = (value ^ ((value >> 15) & 0x1FFFF)) * MIX_32[1]
    return value ^ ((value >> 16) & 0xFFFF)
