"""Checkpoints: a trained detector with everything needed to score a clip, as tensors and plain types."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from engine.device import pick_device
from engine.saved_detector import FORMAT, SavedDetector, parse_settings
from engine.torch_scorer import TorchScorer
from models import build_model
from models.base import DetectorModel
from utils.errors import UsageError
from utils.files import atomic_path, existing_file, is_plain_archive


@dataclass(kw_only=True)
class Checkpoint(SavedDetector):
    """A trained detector with its weights, for torch.

    Attributes:
        weights: the model's state dict.
        trained_on: sorted 64-bit hashes of the training clips' content, by kind; see `engine.training_clips`. `None` in
            checkpoints written before hashes were stored.
        training: optimiser and selection state; only in `last.pth`.
    """

    weights: dict[str, torch.Tensor]
    trained_on: dict[str, torch.Tensor] | None = None
    training: dict[str, Any] | None = None

    def build(self) -> DetectorModel:
        """Build the detector with these weights, in evaluation mode.

        Raises:
            UsageError: the model is unknown, or the weights do not fit it.
        """
        try:
            model = build_model(self.model, self.features, pretrained=False)
            model.load_state_dict(self.weights)
        except (ValidationError, RuntimeError, TypeError, AttributeError, MemoryError) as error:
            problem = " ".join(str(error).split())[:200]
            raise UsageError(f"the checkpoint's weights do not fit its model ({problem})") from None
        model.initialisation = self.provenance.get("initialisation", "unknown")
        return model.eval()

    def scorer(self, device: str, tta: int) -> TorchScorer:
        """Build the detector on a device; see `SavedDetector.scorer`."""
        return TorchScorer(self.build(), pick_device(device), tta)

    def save(self, path: Path) -> Path:
        """Write the checkpoint atomically and return its path.

        Raises:
            WriteError: the disk is full or the folder is not writable; an existing file at `path` stays intact.
        """
        content = {
            **self.settings(),
            "weights": {name: tensor.detach().cpu() for name, tensor in self.weights.items()},
            "trained_on": self.trained_on,
            "training": self.training,
        }
        # If torch opens the file itself, its error does not contain the system's reason for a failed write.
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            torch.save(content, stream)
        return path


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint without executing code from it (`weights_only=True`).

    Raises:
        UsageError: the file is missing, not a multi-ffdv checkpoint, of another version, or trained on features that this
            code no longer extracts.
    """
    path = existing_file(path, "checkpoint")
    not_ours = f"{path} is not a multi-ffdv checkpoint"
    require_plain_archive(path, f"{not_ours}, or it is damaged")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # torch warns about files written by other programs; the errors below suffice
            content = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except Exception:  # the restricted unpickler raises many kinds of exceptions for other or damaged files
        raise UsageError(f"{not_ours}, or it is damaged") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{not_ours}: it contains unrelated tensors or settings")
    try:
        settings = parse_settings(content, path)
        if not isinstance(content["weights"], dict):
            raise TypeError(f"weights is a {type(content['weights']).__name__}, not a mapping")
        check_tensors(content["weights"])
        check_tensors(content.get("trained_on") or {})
        return Checkpoint(
            weights=content["weights"],
            trained_on=content.get("trained_on"),
            training=content["training"],
            **settings,
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise UsageError(f"{not_ours}: {' '.join(str(error).split())[:200]}") from None


def require_plain_archive(path: Path, message: str) -> None:
    """Raise a `UsageError` if a file cannot be read, or with this message if it is no plain archive."""
    try:
        plain = is_plain_archive(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if not plain:
        raise UsageError(message)


def check_tensors(tensors: Mapping[Any, Any]) -> None:
    """Check that all names are text and all values dense tensors of real numbers, none larger than its data in the file.

    Raises:
        TypeError: they are not.
    """
    if not isinstance(tensors, Mapping):
        raise TypeError(f"a {type(tensors).__name__} is in place of named tensors")
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"{name!r} is not the name of a tensor")
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name!r} is a {type(tensor).__name__}, not a tensor")
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise TypeError(f"{name} is not a dense tensor")
        if tensor.is_complex():
            raise TypeError(f"{name} is made of complex numbers")
        # A tensor with strides of 0 has a huge shape and a single number in the file.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise TypeError(f"{name} has shape {tuple(tensor.shape)}, which is larger than its data")
