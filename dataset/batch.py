"""Samples and batches: the arrays of clips with their masks, generic over the registered features."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from utils.features.base import ArraySpec, Feature, MaskedArray, features_of
from utils.features.clip import ClipFeatures
from utils.features.config import FeatureConfig


@dataclass(frozen=True)
class Sample:
    """One clip, ready for collation.

    Attributes:
        index: row of the clip in its split's label table.
        target: 1.0 for fake, 0.0 for real, NaN if unknown.
        inputs: array name -> values and mask, as declared by the features (see `ArraySpec`).
    """

    index: int
    target: float
    inputs: Mapping[str, MaskedArray]


@dataclass(frozen=True)
class Modality:
    """One input of B clips.

    Attributes:
        values: (B, ...) of the declared shape and type; zeros where `mask` is false.
        mask: (B,) bool, or (B, N) bool for an input with a variable number of entries (windows, frames) along its first axis.
    """

    values: Tensor
    mask: Tensor

    @property
    def present(self) -> Tensor:
        """(B,) bool: the clips that have at least one entry of this input."""
        return self.mask.any(dim=1) if self.mask.ndim > 1 else self.mask

    def apply(self, change: Callable[[Tensor], Tensor]) -> Modality:
        """Apply a function to both tensors."""
        return Modality(change(self.values), change(self.mask))


@dataclass(frozen=True)
class Batch:
    """B clips.

    Attributes:
        index: (B,) int64, rows in the split's label table.
        target: (B,) float32; NaN where unknown.
        inputs: array name -> `Modality`, for the inputs that the run's model needs.
    """

    index: Tensor
    target: Tensor
    inputs: Mapping[str, Modality]

    def apply(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Apply a function to every tensor and return the new batch."""
        inputs = {name: modality.apply(change) for name, modality in self.inputs.items()}
        return Batch(change(self.index), change(self.target), inputs)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device. Copies from pinned memory overlap with computation."""
        return self.apply(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; called by torch's loader if pinning is enabled."""
        return self.apply(Tensor.pin_memory)

    def select(self, mask: Tensor) -> Batch:
        """Return the clips where the (B,) bool `mask` is true."""
        return self.apply(lambda tensor: tensor[mask])

    def flipped(self, *, time: bool, frequency: bool) -> Batch:
        """Return the batch with its mel-spectrogram images mirrored in time (h-flip) and/or frequency (v-flip)."""
        axes = [axis for axis, wanted in ((3, time), (2, frequency)) if wanted]
        if not axes or "mel" not in self.inputs:
            return self
        mel = self.inputs["mel"]
        return replace(self, inputs={**self.inputs, "mel": Modality(mel.values.flip(axes), mel.mask)})

    def __len__(self) -> int:
        """Return B."""
        return len(self.index)


class InputLayout:
    """The inputs of a run: the features to compute, and the arrays that they provide."""

    def __init__(self, config: FeatureConfig, inputs: Collection[str]) -> None:
        """Find the registered features that provide the inputs.

        Args:
            config: settings of the features.
            inputs: names of the arrays, usually `DetectorModel.inputs`.

        Raises:
            UsageError: a feature's setting is missing.
        """
        self.features = features_of(inputs)
        self._declared: list[tuple[Feature, list[ArraySpec]]] = []
        for feature in config.build(self.features):
            feature.check()
            self._declared.append((feature, [spec for spec in feature.arrays() if spec.name in inputs]))

    def arrays(self, clip: ClipFeatures) -> dict[str, MaskedArray]:
        """Return the arrays of a clip. A missing modality becomes zeros with a false mask."""
        filled: dict[str, MaskedArray] = {}
        for feature, specs in self._declared:
            arrays = feature.to_arrays(clip.values.get(feature.name), clip.facts)
            filled |= {spec.name: spec.fill(arrays[spec.name]) for spec in specs}
        return filled


def make_sample(index: int, target: float, clip: ClipFeatures, layout: InputLayout) -> Sample:
    """Return the sample of a clip.

    Args:
        index: row of the clip.
        target: 1.0, 0.0 or NaN.
        clip: features from the extractor or the feature store.
        layout: inputs of the run.
    """
    return Sample(index, target, layout.arrays(clip))


def collate(samples: list[Sample]) -> Batch:
    """Stack samples of one layout into a batch."""
    inputs = {
        name: Modality(
            torch.from_numpy(np.stack([sample.inputs[name].values for sample in samples])),
            torch.from_numpy(np.stack([sample.inputs[name].mask for sample in samples])),
        )
        for name in samples[0].inputs
    }
    return Batch(
        index=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        target=torch.tensor([sample.target for sample in samples], dtype=torch.float32),
        inputs=inputs,
    )
