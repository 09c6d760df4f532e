"""Statistics of an image network's first stages over two regions of an aligned face: the lower face and a reference."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.blocks import efficientnet_lite
from models.blocks.efficientnet_lite import EfficientNetLiteStages
from utils.errors import UsageError
from utils.features.face.features import PAIR_PX

STAGES = (0, 1, 2)
"""The first three of timm's `forward_intermediates`, which respond to texture and little to identity or content."""

LOWER_FACE = ((56.0, 74.0, 15.0, 9.0), (56.0, 91.0, 15.0, 6.0))
"""Mouth and jaw, which most forgeries alter, as ellipses: centre x, y and radii in px of a 112-px face."""

REFERENCE_REGION = (
    ((56.0, 57.0, 7.0, 9.0),),
    ((38.0, 62.0, 7.0, 8.0), (74.0, 62.0, 7.0, 8.0)),
    ((56.0, 28.0, 17.0, 7.0),),
)
"""Nose, cheeks and brow, with equal weights: the reference for the lower face."""

ENERGY_FLOOR = 1e-3
FRAMES_AT_ONCE = 8
"""Frames per pass through the network. The feature maps of more frames do not fit the processor's caches."""

RANDOM_START = 0
"""Seed of a backbone with random weights. It is fixed because the backbone's statistics are cached across runs."""

Weights = Literal["package", "timm", "none"]


class RegionTexture(nn.Module):
    """Mean and log energy of each channel of the first stages of a frozen backbone, per region."""

    mean: Tensor
    std: Tensor
    trunk: Any

    def __init__(self, backbone: str) -> None:
        """Build the stages with random weights; see `start`.

        Raises:
            UsageError: the architecture is unknown or has no stages.
        """
        super().__init__()
        self.name = backbone
        self.trunk, self.size, mean, std = first_stages(backbone)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.trunk.requires_grad_(False)

    def start(self, weights: Weights) -> str:
        """Load pretrained weights and return their origin.

        Args:
            weights: `package`: from a Python package; `timm`: from timm's own source; `none`: random with a fixed seed.

        Raises:
            UsageError: the weights are not available.
        """
        if weights == "none":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(RANDOM_START)
                state, origin = first_stages(self.name)[0].state_dict(), "random"
        elif weights == "timm":
            from models.blocks.backbone import create_backbone

            whole, origin = create_backbone(self.name, pretrained=True)
            state = whole.state_dict()
        else:
            from models.blocks.packaged_weights import packaged_state

            state, origin = packaged_state(self.name), "imagenet (package)"
        missing = [key for key in self.trunk.state_dict() if key not in state and "num_batches" not in key]
        if missing:
            raise UsageError(f"the weights of {self.name} lack {missing[0]}")
        self.trunk.load_state_dict({key: state[key] for key in self.trunk.state_dict() if key in state}, strict=False)
        return origin

    def train(self, mode: bool = True) -> RegionTexture:
        """Stay in evaluation mode, because the running statistics of a frozen network must not change."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Compute the statistics of one clip, averaged over its frames.

        Args:
            frames: (N, 112, 112, 3) uint8 RGB.

        Returns:
            (D,) float32.
        """
        parts = [self._statistics(part) for part in frames.split(FRAMES_AT_ONCE)]
        statistics = []
        for stage in zip(*parts, strict=True):
            means, energies = torch.cat(stage).mean(dim=0)
            statistics += [means, (energies + ENERGY_FLOOR).log()]
        return torch.cat(statistics, dim=1).flatten()

    def _statistics(self, frames: Tensor) -> list[Tensor]:
        """Return the mean and the energy of each channel per frame, region and stage: (N, 2, 2, C) for each stage."""
        image = (frames.permute(0, 3, 1, 2).float() / 255.0 - self.mean) / self.std
        image = image.contiguous(memory_format=torch.channels_last)
        statistics = []
        for stage in stages_of(self.trunk, image):
            weights, inside = (part.to(stage.device) for part in region_cells(*stage.shape[-2:]))
            cells = stage.permute(0, 2, 3, 1).flatten(1, 2)[:, inside]
            statistics.append(torch.stack([weights @ cells, weights @ cells.square()], dim=1))
        return statistics


def first_stages(backbone: str) -> tuple[nn.Module, int, tuple[float, ...], tuple[float, ...]]:
    """Return the stages of a backbone with random weights, the number of their statistics, and mean and SD of its input."""
    if backbone == efficientnet_lite.NAME:
        channels = efficientnet_lite.STAGE_CHANNELS
        return EfficientNetLiteStages(), 2 * 2 * sum(channels), efficientnet_lite.MEAN, efficientnet_lite.STD
    import timm

    if not timm.is_model(backbone):
        raise UsageError(f"timm has no model {backbone!r}")
    trunk: Any = timm.create_model(backbone, num_classes=0)
    try:
        trunk.prune_intermediate_layers(list(STAGES))
        channels = tuple(trunk.feature_info[stage]["num_chs"] for stage in STAGES)
    except (AttributeError, IndexError, KeyError, TypeError, AssertionError):
        raise UsageError(f"{backbone} has no stages to take the first {len(STAGES)} of") from None
    settings = timm.get_pretrained_cfg(backbone)
    mean, std = (settings.mean, settings.std) if settings is not None else ((0.5,) * 3, (0.5,) * 3)
    return trunk, 2 * 2 * sum(channels), mean, std


def stages_of(trunk: Any, image: Tensor) -> Iterable[Tensor]:
    """Return the feature maps (N, C, H, W) of the stages."""
    if isinstance(trunk, EfficientNetLiteStages):
        return trunk(image)
    return trunk.forward_intermediates(image, indices=list(STAGES), intermediates_only=True)


def ellipses(parts: tuple[tuple[float, float, float, float], ...], rows: int, columns: int) -> np.ndarray:
    """Return weights (rows, columns) float64 over a union of ellipses; their sum is 1."""
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    y, x = y * (PAIR_PX / rows), x * (PAIR_PX / columns)
    inside = np.max([((x - a) / c) ** 2 + ((y - b) / d) ** 2 < 1 for a, b, c, d in parts], axis=0).astype(float)
    return inside / max(inside.sum(), 1.0)


@lru_cache(maxsize=16)
def region_weights(rows: int, columns: int) -> np.ndarray:
    """Return weights (rows * columns, 2) float32 of the lower face and the reference region for a stage's feature map."""
    lower = np.mean([ellipses((part,), rows, columns) for part in LOWER_FACE], axis=0)
    reference = np.mean([ellipses(parts, rows, columns) for parts in REFERENCE_REGION], axis=0)
    return np.stack([lower.ravel(), reference.ravel()], axis=1).astype(np.float32)


def region_cells(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Return the weights (2, I) float32 of the I cells inside a region, and their indices (I,) in a flat feature map."""
    weights = region_weights(rows, columns)
    inside = np.flatnonzero(weights.any(axis=1))
    return torch.from_numpy(np.ascontiguousarray(weights[inside].T)), torch.from_numpy(inside)
