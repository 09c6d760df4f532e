"""Batches: the inputs of several clips as tensors, with their masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dataset.samples import Sample, stacked


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

    def entries(self, row: int) -> tuple[Tensor, Tensor]:
        """Return the entries of one clip, which come first, as values (N', ...) and a mask (N',) bool.

        The mask is all true, except in an exported graph, whose shapes cannot depend on it: there N' = N.
        """
        values, mask = self.values[row], self.mask[row]
        if torch.compiler.is_exporting():
            return values, mask
        count = int(mask.sum())
        return values[:count], mask[:count]

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
        draws: (B,) uniform random numbers in [0, 1), set when several processes train a model. A model's random decisions
            about a clip use them if they are set, so that they do not depend on the number of processes.
    """

    index: Tensor
    target: Tensor
    inputs: Mapping[str, Modality]
    draws: Tensor | None = None

    def apply(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Apply a function to every tensor and return the new batch."""
        inputs = {name: modality.apply(change) for name, modality in self.inputs.items()}
        draws = None if self.draws is None else change(self.draws)
        return Batch(change(self.index), change(self.target), inputs, draws)

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


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one layout into a batch."""
    inputs = {
        name: Modality(torch.from_numpy(array.values), torch.from_numpy(array.mask))
        for name, array in stacked(samples).items()
    }
    return Batch(
        index=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        target=torch.tensor([sample.target for sample in samples], dtype=torch.float32),
        inputs=inputs,
    )
