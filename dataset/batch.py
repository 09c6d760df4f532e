"""What a batch holds: the one place where every key, shape and type is written down."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.features.extract import ClipFeatures
from utils.features.face.features import MAX_MOUTH_FRAMES, MOUTH_COLUMNS, MOUTH_ROWS, PAIR_SHAPE, PAIRS
from utils.features.mel import decode_picture
from utils.features.speech import PAD, SPEECH_BANDS
from utils.features.speech_embedding import embedding_size
from utils.features.voice import MAX_WINDOWS, VOICE_SIZE


def no_rows(*shape: int, dtype: type) -> Any:
    """A field of `Sample` that is an array (0, ...) unless it is given: it costs nothing where nobody asks for it."""
    return field(default_factory=lambda: np.zeros((0, *shape), dtype))


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
        embedding: (`MAX_WINDOWS`, E) float32, see `utils.features.speech_embedding`; zeros where `has_embedding` is false.
        has_embedding: (`MAX_WINDOWS`,) bool: which windows the clip has. Both have length 0 where the config names no encoder.
        face_pairs: (`PAIRS`, 2, 112, 112, 3) uint8 RGB, see `FaceFeatures`; zeros where `has_face` is false.
        has_face: whether a face was found.
        mouth: (`MAX_MOUTH_FRAMES`, 24, 28) uint8 grey levels at 25 Hz, zeros from `mouth_frames` on.
        mouth_frames: how many of them the clip has.
        speech: (`MAX_MOUTH_FRAMES` + 2 `PAD`, 40) float32, see `speech_of_pcm`, zeros after the clip's own; all zeros where
            `has_sync` is false.
        has_sync: whether mouth and speech can be compared.

    Where the config does not ask for faces, `face_pairs`, `mouth` and `speech` have length 0.
    """

    index: int
    target: float
    mel: np.ndarray
    covariance: np.ndarray
    has_mel: bool
    has_covariance: bool
    voice: np.ndarray = field(default_factory=lambda: np.zeros((MAX_WINDOWS, VOICE_SIZE), np.float32))
    has_voice: np.ndarray = field(default_factory=lambda: np.zeros(MAX_WINDOWS, bool))
    embedding: np.ndarray = no_rows(0, dtype=np.float32)
    has_embedding: np.ndarray = no_rows(dtype=bool)
    face_pairs: np.ndarray = no_rows(*PAIR_SHAPE, dtype=np.uint8)
    has_face: bool = False
    mouth: np.ndarray = no_rows(MOUTH_ROWS, MOUTH_COLUMNS, dtype=np.uint8)
    mouth_frames: int = 0
    speech: np.ndarray = no_rows(SPEECH_BANDS, dtype=np.float32)
    has_sync: bool = False


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
        embedding: (B, W, E) float32; W = 0 where the config names no speech encoder.
        has_embedding: (B, W) bool.
        face_pairs: (B, P, 2, 112, 112, 3) uint8; P = 0 where the config does not ask for faces.
        has_face: (B,) bool.
        mouth: (B, T, 24, 28) uint8; T = 0 likewise.
        mouth_frames: (B,) int64, each clip's own frames of them.
        speech: (B, T + 2 `PAD`, 40) float32; of length 0 likewise.
        has_sync: (B,) bool.
    """

    index: Tensor
    target: Tensor
    mel: Tensor
    covariance: Tensor
    has_mel: Tensor
    has_covariance: Tensor
    voice: Tensor
    has_voice: Tensor
    embedding: Tensor
    has_embedding: Tensor
    face_pairs: Tensor
    has_face: Tensor
    mouth: Tensor
    mouth_frames: Tensor
    speech: Tensor
    has_sync: Tensor

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


def make_sample(
    index: int,
    target: float,
    features: ClipFeatures,
    *,
    top_k: int,
    image_size_px: int,
    face: bool = False,
    speech_encoder: str | None = None,
) -> Sample:
    """A sample of a clip's features; an absent modality becomes zeros and a false mask.

    Args:
        index: the clip's row.
        target: 1.0, 0.0 or NaN.
        features: what the extractor or the cache gave.
        top_k: K, the side of the covariance.
        image_size_px: the side of the mel picture.
        face: whether the config asks for faces.
        speech_encoder: the encoder that the config names, if any.
    """
    mel_jpeg = features.mel_jpeg if features.has_mel else None
    picture = None if mel_jpeg is None else decode_picture(mel_jpeg)
    if picture is not None and picture.shape != (image_size_px, image_size_px):
        picture = None
    covariance = features.covariance if features.has_covariance else None
    voice, has_voice = pad_windows(features.voice if features.has_voice else None, VOICE_SIZE)
    return Sample(
        index=index,
        target=target,
        mel=np.zeros((1, image_size_px, image_size_px), np.uint8) if picture is None else picture[None],
        covariance=np.zeros((top_k, top_k), np.float32) if covariance is None else covariance,
        has_mel=picture is not None,
        has_covariance=covariance is not None,
        voice=voice,
        has_voice=has_voice,
        **(embedding_fields(features, speech_encoder) if speech_encoder else {}),
        **(face_fields(features) if face else {}),
    )


def embedding_fields(features: ClipFeatures, speech_encoder: str) -> dict[str, Any]:
    """The fields of `Sample` about a clip's speech embeddings."""
    rows, own = pad_windows(features.embedding if features.has_embedding else None, embedding_size(speech_encoder))
    return {"embedding": rows, "has_embedding": own}


def face_fields(features: ClipFeatures) -> dict[str, Any]:
    """The fields of `Sample` about a clip's face."""
    face = features.face
    return {
        "face_pairs": np.zeros((PAIRS, *PAIR_SHAPE), np.uint8) if face is None else face.pairs,
        "has_face": face is not None,
        "mouth": padded(None if face is None else face.mouth, (MAX_MOUTH_FRAMES, MOUTH_ROWS, MOUTH_COLUMNS), np.uint8),
        "mouth_frames": 0 if face is None else len(face.mouth),
        "speech": padded(
            features.speech if features.has_sync else None, (MAX_MOUTH_FRAMES + 2 * PAD, SPEECH_BANDS), np.float32
        ),
        "has_sync": features.has_sync,
    }


def padded(array: np.ndarray | None, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array with zeros behind it up to a shape that differs in the first axis; `None` gives zeros."""
    full: np.ndarray = np.zeros(shape, dtype)
    if array is not None:
        full[: len(array)] = array
    return full


def pad_windows(windows: np.ndarray | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows (W, `size`) as (`MAX_WINDOWS`, `size`), and which of those are the clip's own (`MAX_WINDOWS`,) bool."""
    count = 0 if windows is None else len(windows)
    return padded(windows, (MAX_WINDOWS, size), np.float32), np.arange(MAX_WINDOWS) < count


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
        embedding=torch.from_numpy(np.stack([sample.embedding for sample in samples])),
        has_embedding=torch.from_numpy(np.stack([sample.has_embedding for sample in samples])),
        face_pairs=torch.from_numpy(np.stack([sample.face_pairs for sample in samples])),
        has_face=torch.tensor([sample.has_face for sample in samples], dtype=torch.bool),
        mouth=torch.from_numpy(np.stack([sample.mouth for sample in samples])),
        mouth_frames=torch.tensor([sample.mouth_frames for sample in samples], dtype=torch.int64),
        speech=torch.from_numpy(np.stack([sample.speech for sample in samples])),
        has_sync=torch.tensor([sample.has_sync for sample in samples], dtype=torch.bool),
    )
