"""Conversion of grey-level mel-spectrogram images to the input of ImageNet backbones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageInput(nn.Module):
    """Conversion of grey levels to normalised three-channel images. It is part of the model, so checkpoints include it."""

    mean: Tensor
    std: Tensor

    def __init__(self, size_px: int) -> None:
        """Resize images of another size to `size_px` square."""
        super().__init__()
        self.size_px = size_px
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """Map (B, 1, H, W) uint8 grey levels to (B, 3, size_px, size_px) float32, standardised as for ImageNet."""
        image = mel.float() / 255.0
        if image.shape[-2:] != (self.size_px, self.size_px):
            image = F.interpolate(
                image, size=(self.size_px, self.size_px), mode="bilinear", align_corners=False, antialias=True
            )
        return (image.expand(-1, 3, -1, -1) - self.mean) / self.std
