"""What a batch holds: the one place where every key, shape and type is written down."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from torch import Tensor

from utils.features.extract import ClipFeatures
from utils.features.mel import decode_picture
from utils.features.voice import MAX_WINDOWS, VOICE_SIZE


@dataclass(frozen=True)
class Sample:
    """One clip, ready to be stacked.

    Attributes:
        index: the clip's row in its split's label table.
        target: 1.0 fake, 0.0 real, NaN unknown.
        mel: (1, H, W) uint8 grey levels, low frequencies in the first row; zeros where `has_mel` is false.
        covariance: (K, K) float32 in [0, 1]; zeros where `has_covariance` is false.
        has_mel: whether `mel` says anything.
        has_covariance: whether `covariance` says anything.
        voice: (`MAX_WINDOWS`, D) float32, see `utils.features.voice`; zeros where `has_voice` is false.
        has_voice: (`MAX_WINDOWS`,) bool: which windows the clip has; none without a voice, or where none is asked for.
    """

    index: int
    target: float
    mel: np.ndarray
    covariance: np.ndarray
    has_mel: bool
    has_covariance: bool
    voice: np.ndarray = field(default_factory=lambda: np.zeros((MAX_WINDOWS, VOICE_SIZE), np.float32))
    has_voice: np.ndarray = field(default_factory=lambda: np.zeros(MAX_WINDOWS, bool))


@dataclass(frozen=True)
class Batch:
    """B clips.

    Attributes:
        index: (B,) int64, rows in the split's label table.
        target: (B,) float32; NaN where unknown.
        mel: (B, 1, H, W) uint8.
        covariance: (B, K, K) float32.
        has_mel: (B,) bool.
        has_covariance: (B,) bool.
        voice: (B, W, D) float32.
        has_voice: (B, W) bool; a clip without a voice has no window.
    """

    index: Tensor
    target: Tensor
    mel: Tensor
    covariance: Tensor
    has_mel: Tensor
    has_covariance: Tensor
    voice: Tensor
    has_voice: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device; copies from pinned memory overlap with computing."""
        return Batch(**{one.name: getattr(self, one.name).to(device, non_blocking=True) for one in fields(self)})

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; called by torch's loader when it is asked to pin."""
        return Batch(**{one.name: getattr(self, one.name).pin_memory() for one in fields(self)})

    def select(self, mask: Tensor) -> Batch:
        """The clips where the (B,) bool `mask` is true."""
        return Batch(**{one.name: getattr(self, one.name)[mask] for one in fields(self)})

    def flipped(self, *, time: bool, frequency: bool) -> Batch:
        """The batch with its mel pictures mirrored in time (h-flip) and/or frequency (v-flip)."""
        axes = [axis for axis, wanted in ((3, time), (2, frequency)) if wanted]
        return replace(self, mel=self.mel.flip(axes)) if axes else self

    def __len__(self) -> int:
        """B."""
        return len(self.index)


def make_sample(index: int, target: float, features: ClipFeatures, *, top_k: int, image_size_px: int) -> Sample:
    """A sample of a clip's features; an absent modality becomes zeros and a false mask.

    Args:
        index: the clip's row.
        target: 1.0, 0.0 or NaN.
        features: what the extractor or the cache gave.
        top_k: K, the side of the covariance.
        image_size_px: the side of the mel picture.
    """
    mel_jpeg = features.mel_jpeg if features.has_mel else None
    picture = None if mel_jpeg is None else decode_picture(mel_jpeg)
    if picture is not None and picture.shape != (image_size_px, image_size_px):
        picture = None
    covariance = features.covariance if features.has_covariance else None
    voice, has_voice = pad_windows(features.voice if features.has_voice else None)
    return Sample(
        index=index,
        target=target,
        mel=np.zeros((1, image_size_px, image_size_px), np.uint8) if picture is None else picture[None],
        covariance=np.zeros((top_k, top_k), np.float32) if covariance is None else covariance,
        has_mel=picture is not None,
        has_covariance=covariance is not None,
        voice=voice,
        has_voice=has_voice,
    )


def pad_windows(voice: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Voice features (W, D) as (`MAX_WINDOWS`, D) and which windows are the clip's own (`MAX_WINDOWS`,) bool."""
    padded = np.zeros((MAX_WINDOWS, VOICE_SIZE), np.float32)
    count = 0 if voice is None else len(voice)
    if voice is not None:
        padded[:count] = voice
    return padded, np.arange(MAX_WINDOWS) < count


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch."""
    return Batch(
        index=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        target=torch.tensor([sample.target for sample in samples], dtype=torch.float32),
        mel=torch.from_numpy(np.stack([sample.mel for sample in samples])),
        covariance=torch.from_numpy(np.stack([sample.covariance for sample in samples])),
        has_mel=torch.tensor([sample.has_mel for sample in samples], dtype=torch.bool),
        has_covariance=torch.tensor([sample.has_covariance for sample in samples], dtype=torch.bool),
        voice=torch.from_numpy(np.stack([sample.voice for sample in samples])),
        has_voice=torch.from_numpy(np.stack([sample.has_voice for sample in samples])),
    )
