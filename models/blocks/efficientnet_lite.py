"""The first three stages of EfficientNet-Lite0 (Tan and Le, 2019) without timm, which takes seconds to import."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

from models.blocks.folded import folded_conv

NAME = "tf_efficientnet_lite0"
"""timm's name. The tensors have timm's names too."""

MEAN = STD = (0.5, 0.5, 0.5)
"""Standardisation of the input."""

STEM = 32
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40))
"""Blocks, kernel, stride of the first block, expansion and output channels of each stage."""

STAGE_CHANNELS = tuple(stage[-1] for stage in STAGES)
EPS = 1e-3


class Block(nn.Module):
    """An inverted residual: expansion, depthwise convolution, projection. Without expansion, the first is left out."""

    def __init__(self, channels: int, more: int, kernel: int, stride: int, expansion: int) -> None:
        """Start with random weights; see `STAGES` for the arguments."""
        super().__init__()
        wide = channels * expansion
        self.expands, self.residual = expansion > 1, stride == 1 and channels == more
        depthwise = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        if self.expands:
            self.conv_pw, self.bn1 = nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide, EPS)
            self.conv_dw, self.bn2 = depthwise, nn.BatchNorm2d(wide, EPS)
            self.conv_pwl, self.bn3 = nn.Conv2d(wide, more, 1, bias=False), nn.BatchNorm2d(more, EPS)
        else:
            self.conv_dw, self.bn1 = depthwise, nn.BatchNorm2d(wide, EPS)
            self.conv_pw, self.bn2 = nn.Conv2d(wide, more, 1, bias=False), nn.BatchNorm2d(more, EPS)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H', W')."""
        if self.expands:
            wide = functional.relu6(folded_conv(image, self.conv_pw, self.bn1), inplace=True)
            deep = functional.relu6(folded_conv(wide, self.conv_dw, self.bn2, pad_same=True), inplace=True)
            output = folded_conv(deep, self.conv_pwl, self.bn3)
        else:
            deep = functional.relu6(folded_conv(image, self.conv_dw, self.bn1, pad_same=True), inplace=True)
            output = folded_conv(deep, self.conv_pw, self.bn2)
        return output + image if self.residual else output


class EfficientNetLiteStages(nn.Module):
    """The stem and the first three stages, in evaluation mode: running statistics are never updated."""

    def __init__(self) -> None:
        """Start with random weights."""
        super().__init__()
        self.conv_stem, self.bn1 = nn.Conv2d(3, STEM, 3, 2, bias=False), nn.BatchNorm2d(STEM, EPS)
        stages, channels = [], STEM
        for count, kernel, stride, expansion, more in STAGES:
            blocks = []
            for number in range(count):
                blocks.append(Block(channels, more, kernel, 1 if number else stride, expansion))
                channels = more
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, image: Tensor) -> Iterator[Tensor]:
        """Yield the feature map of each stage for standardised images (N, 3, H, W)."""
        features = functional.relu6(folded_conv(image, self.conv_stem, self.bn1, pad_same=True), inplace=True)
        for stage in self.blocks:
            features = stage(features)
            yield features
