"""A small fully convolutional network that localises forged areas in pairs of face frames."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.folded import folded_conv

PLANES = 6
LUMA = (0.299, 0.587, 0.114)
DETAIL_PX = 7
"""Side of the square whose mean is subtracted to keep the fine detail."""

DETAIL_SCALE, DETAIL_FLOOR = 0.7, 0.004
COARSE_GAIN = 2.0
DROPOUT = 0.1


class ForgeryLocalizer(nn.Module):
    """A network that maps pairs of frames to patch logits. A pair logit is the log-mean-exp of its patch logits."""

    luma: Tensor

    def __init__(self, narrow: int = 16, wide: int = 28) -> None:
        """Start with random weights; `narrow` and `wide` are the numbers of channels at strides 2 and 4."""
        super().__init__()
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 1, 3, 1, 1), persistent=False)
        self.body = nn.Sequential(
            block(PLANES, narrow, stride=2), block(narrow, narrow), block(narrow, wide, stride=2), block(wide, wide)
        )
        self.near, self.far = block(wide, wide, dilation=2), block(wide, wide, dilation=4)
        self.head = nn.Conv2d(2 * wide, 1, 1)

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Localise forged areas.

        Args:
            pairs: (N, 2, 112, 112, 3) uint8 RGB.

        Returns:
            Patch logits (N, 28, 28) and pair logits (N,).
        """
        return self.localise(self.planes(pairs))

    def localise(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Return patch and pair logits of input planes, which are the same for all localizers."""
        cells = planes.contiguous(memory_format=torch.channels_last)
        for layer in self.body:
            cells = apply_block(layer, cells)
        context = apply_block(self.near, cells)
        context = context + apply_block(self.far, context)
        joined = F.dropout(torch.cat([cells, context], dim=1), DROPOUT, self.training)
        patches = self.head(joined)[:, 0]
        return patches, patches.flatten(1).logsumexp(dim=1) - float(np.log(patches[0].numel()))

    def planes(self, pairs: Tensor) -> Tensor:
        """Compute the input planes (N, 6, 112, 112): luma, its detail in both frames, their difference, chroma detail.

        Detail planes are divided by their mean magnitude to remove the effect of contrast and grain strength.
        """
        colours = pairs.permute(0, 1, 4, 2, 3).contiguous().float() / 255.0
        luma = (colours * self.luma).sum(dim=2)
        details = detail(luma)
        scale = DETAIL_SCALE / (details.abs().mean(dim=(1, 2, 3), keepdim=True) + DETAIL_FLOOR)
        chroma = torch.stack([colours[:, 0, 0] - luma[:, 0], colours[:, 0, 2] - luma[:, 0]], dim=1)
        first = luma[:, :1]
        coarse = COARSE_GAIN * (first - first.mean(dim=(2, 3), keepdim=True))
        return torch.cat([coarse, details * scale, (luma[:, 1:] - first) * scale, detail(chroma) * scale], dim=1)


def detail(planes: Tensor) -> Tensor:
    """Subtract the local mean from planes (N, C, H, W)."""
    edge = DETAIL_PX // 2
    padded = F.pad(planes, (edge, edge, edge, edge), mode="reflect")
    # On a CPU, shifted sums are several times faster than pooling, which is not vectorised.
    return planes - shifted_sum(shifted_sum(padded, dim=2), dim=3) / DETAIL_PX**2


def shifted_sum(planes: Tensor, dim: int) -> Tensor:
    """Sum over `DETAIL_PX` neighbours along a dimension, which shrinks by `DETAIL_PX` - 1."""
    length = planes.shape[dim] - DETAIL_PX + 1
    return reduce(torch.add, (planes.narrow(dim, shift, length) for shift in range(DETAIL_PX)))


def block(channels: int, more: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Build a 3 x 3 convolution with batch normalisation and ReLU."""
    convolution = nn.Conv2d(channels, more, 3, stride, dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(more), nn.ReLU())


def apply_block(layers: Any, image: Tensor) -> Tensor:
    """Apply a block of `block`. In evaluation mode, its batch normalisation is folded into its convolution."""
    if layers.training:
        return layers(image)
    convolution, norm, _ = layers
    return F.relu(folded_conv(image, convolution, norm), inplace=not torch.is_grad_enabled())
