"""A small fully convolutional network that marks where a pair of face frames was forged."""

from __future__ import annotations

from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLANES = 6
LUMA = (0.299, 0.587, 0.114)
FINE_PX = 7
"""Side of the mean that is taken off to leave what is fine."""

FINE_LEVEL, FINE_FLOOR = 0.7, 0.004
COARSE_GAIN = 2.0
DROPOUT = 0.1


class PlaceNet(nn.Module):
    """From pairs of frames to logits of the forged area and of the whole pair, the log-mean-exp of the area's."""

    luma: Tensor

    def __init__(self, narrow: int = 16, wide: int = 28) -> None:
        """Begin with random weights; `narrow` and `wide` are the channels at half and at a quarter of the side."""
        super().__init__()
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 1, 3, 1, 1), persistent=False)
        self.body = nn.Sequential(
            block(PLANES, narrow, stride=2), block(narrow, narrow), block(narrow, wide, stride=2), block(wide, wide)
        )
        self.near, self.far = block(wide, wide, dilation=2), block(wide, wide, dilation=4)
        self.head = nn.Conv2d(2 * wide, 1, 1)

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs (N, 2, 112, 112, 3) uint8 RGB -> area logits (N, 28, 28) and pair logits (N,)."""
        cells = self.body(self.planes(pairs).contiguous(memory_format=torch.channels_last))
        context = self.near(cells)
        context = context + self.far(context)
        joined = F.dropout(torch.cat([cells, context], dim=1), DROPOUT, self.training)
        area = self.head(joined)[:, 0]
        return area, area.flatten(1).logsumexp(dim=1) - float(np.log(area[0].numel()))

    def planes(self, pairs: Tensor) -> Tensor:
        """What the network looks at, (N, 6, 112, 112): luma, fine luma of both frames, their difference, fine chroma.

        Fine planes are divided by their own mean magnitude, so that contrast and the level of the grain cancel.
        """
        colours = pairs.permute(0, 1, 4, 2, 3).contiguous().float() / 255.0
        luma = (colours * self.luma).sum(dim=2)
        details = fine(luma)
        level = FINE_LEVEL / (details.abs().mean(dim=(1, 2, 3), keepdim=True) + FINE_FLOOR)
        chroma = torch.stack([colours[:, 0, 0] - luma[:, 0], colours[:, 0, 2] - luma[:, 0]], dim=1)
        first = luma[:, :1]
        coarse = COARSE_GAIN * (first - first.mean(dim=(2, 3), keepdim=True))
        return torch.cat([coarse, details * level, (luma[:, 1:] - first) * level, fine(chroma) * level], dim=1)


def fine(planes: Tensor) -> Tensor:
    """Planes (N, C, H, W) less their local mean."""
    edge = FINE_PX // 2
    wide = F.pad(planes, (edge, edge, edge, edge), mode="reflect")
    # Shifted sums: on a processor several times faster than pooling, which is not vectorised.
    return planes - shifted_sum(shifted_sum(wide, dim=2), dim=3) / FINE_PX**2


def shifted_sum(planes: Tensor, dim: int) -> Tensor:
    """Sums over `FINE_PX` neighbours along a dimension, which becomes shorter by `FINE_PX` - 1."""
    length = planes.shape[dim] - FINE_PX + 1
    return reduce(torch.add, (planes.narrow(dim, shift, length) for shift in range(FINE_PX)))


def block(channels: int, more: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution with normalisation and ReLU."""
    convolution = nn.Conv2d(channels, more, 3, stride, dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(more), nn.ReLU())
