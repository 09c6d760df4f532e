"""From grey mel pictures to what ImageNet backbones expect."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn


class PictureInput(nn.Module):
    """Grey levels to normalised three-channel pictures. It lives in the model, so preprocessing travels with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, size_px: int) -> None:
        """Resize to `size_px` square where the picture has another size."""
        super().__init__()
        self.size_px = size_px
        self.register_buffer("mean", torch.tensor(IMAGENET_DEFAULT_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_DEFAULT_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, 1, H, W) uint8 grey levels -> (B, 3, size_px, size_px) float32 with ImageNet's mean and deviation taken out."""
        picture = mel.float() / 255.0
        if picture.shape[-2:] != (self.size_px, self.size_px):
            picture = F.interpolate(
                picture, size=(self.size_px, self.size_px), mode="bilinear", align_corners=False, antialias=True
            )
        return (picture.expand(-1, 3, -1, -1) - self.mean) / self.std
