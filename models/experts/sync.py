"""The sync expert: measures whether mouth and speech are synchronous. It is trained on real clips only.

It uses canonical correlation (Hotelling, 1936) between the moving mouth and the speech around each frame. In a real clip, the
correlation peaks at lag 0; swapped, dubbed or shifted speech has no such peak. Lip-sync generators animate the mouth from the
speech, so their fakes also have the peak and are not detected.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from dataset.batch import Batch
from models.experts.base import EXPERTS, Expert, ExpertConfig, score_each
from utils.errors import UsageError
from utils.features.face.features import MOUTH_COLUMNS, MOUTH_ROWS
from utils.features.speech import CONTEXT, MAX_LAG, SPEECH_BANDS

MOUTH_SIZE = MOUTH_ROWS * MOUTH_COLUMNS
SPEECH_SIZE = (2 * CONTEXT + 1) * SPEECH_BANDS

TOLERANCE = 1
"""Tolerated lag of the peak in frames, because few clips are synchronous to within 40 ms."""

ROUND_OFF = 1e-6


class SyncConfig(ExpertConfig):
    """Config of the sync expert."""

    mouth_dims: int = Field(20, ge=1, le=MOUTH_SIZE, description="principal components of the mouth")
    speech_dims: int = Field(30, ge=1, le=SPEECH_SIZE, description="principal components of the speech")
    components: int = Field(6, ge=1, description="number of pairs of canonical directions, limited by the dimensions")


@EXPERTS.register("sync", SyncConfig)
class SyncExpert(Expert):
    """The sync expert. Its linear maps from mouth and speech to a shared space are buffers.

    Attributes:
        mouth_mean: (672,) and mouth_map (672, P): the mouth's principal components.
        mouth_mix: (2 P, C): maps these components and their velocity to the shared space.
        speech_mean: (520,) and speech_mix (520, C): map speech with its context to the shared space.
        strength: (C,) canonical correlations, the weights of the C directions.
    """

    inputs = ("mouth", "speech")
    mouth_mean: Tensor
    mouth_map: Tensor
    mouth_mix: Tensor
    speech_mean: Tensor
    speech_mix: Tensor
    strength: Tensor

    def __init__(self, config: SyncConfig) -> None:
        """Start with random maps.

        Raises:
            UsageError: there are more components than dimensions.
        """
        super().__init__(config)
        self.config = config
        if config.components > min(2 * config.mouth_dims, config.speech_dims):
            raise UsageError("the sync expert has more components than dimensions (2 * mouth_dims or speech_dims)")
        self.register_buffer("mouth_mean", torch.zeros(MOUTH_SIZE))
        self.register_buffer("mouth_map", torch.randn(MOUTH_SIZE, config.mouth_dims))
        self.register_buffer("mouth_mix", torch.randn(2 * config.mouth_dims, config.components))
        self.register_buffer("speech_mean", torch.zeros(SPEECH_SIZE))
        self.register_buffer("speech_mix", torch.randn(SPEECH_SIZE, config.components))
        self.register_buffer("strength", torch.rand(config.components))

    def mask(self, batch: Batch) -> Tensor:
        """Return a mask (B,) bool of the clips with a face and speech at the same time."""
        return batch.inputs["speech"].present

    def raw(self, batch: Batch) -> Tensor:
        """Return the scores of the clips, (B,) float32, see `score`."""
        mouth, speech = batch.inputs["mouth"], batch.inputs["speech"]

        def score(row: int) -> Tensor:
            (frames, own), (spectra, _) = mouth.entries(row), speech.entries(row)
            return self.score(frames, spectra, own)

        return score_each(speech.present, score)

    def score(self, mouth: Tensor, speech: Tensor, own: Tensor | None = None) -> Tensor:
        """Score one clip. A higher score means that speech and mouth are less synchronous.

        Args:
            mouth: (T, 24, 28) uint8.
            speech: (T + 2 `PAD`, 40), see `speech_of_pcm`.
            own: (T,) bool, the existing mouth frames, which come first; `None` for all.

        Returns:
            () float64 in [-2, 1]: the median of `curve` minus its maximum within `TOLERANCE` frames of lag 0.
        """
        curve = self.curve(mouth, speech, own)
        return curve.sort().values[MAX_LAG] - curve[MAX_LAG - TOLERANCE : MAX_LAG + TOLERANCE + 1].max()

    def curve(self, mouth: Tensor, speech: Tensor, own: Tensor | None = None) -> Tensor:
        """Return the strength-weighted correlation of mouth and speech at lags of `-MAX_LAG` to `MAX_LAG` frames, (25,)."""
        own = torch.ones(len(mouth), dtype=torch.bool, device=mouth.device) if own is None else own
        components = (standardise(mouth, own) - self.mouth_mean.double()) @ self.mouth_map.double()
        moving = unit(with_velocity(components, own) @ self.mouth_mix.double(), own)
        audio = (in_context(speech.double()) - self.speech_mean.double()) @ self.speech_mix.double()
        lagged = audio.unfold(0, len(mouth), 1).transpose(1, 2)
        correlation = (unit(lagged, own) * moving).sum(dim=1)
        strength = self.strength.double()
        return correlation @ strength / strength.sum()


def standardise(mouth: Tensor, own: Tensor) -> Tensor:
    """Standardise pixels to zero mean over time per pixel and unit variance over all.

    Args:
        mouth: (T, 24, 28).
        own: (T,) bool, the existing frames.

    Returns:
        (T, 672) float64, 0 for frames that do not exist.
    """
    pixels = centred(mouth.flatten(1).double(), own)
    variance = pixels.square().sum() / (own.sum().clamp(min=1) * MOUTH_SIZE)
    return pixels / (variance.sqrt() + ROUND_OFF)


def with_velocity(series: Tensor, own: Tensor) -> Tensor:
    """Append the rate of change to a series (T, P) and return (T, 2 P). Differences are central, at the ends one-sided."""
    first = torch.arange(len(own), device=own.device) == 0
    last = own & ~torch.cat([own[1:], torch.zeros_like(own[:1])])
    before = torch.cat([series[:1], series[:-1]])
    after = torch.where(last[:, None], series, torch.cat([series[1:], series[-1:]]))
    steps = torch.where(first | last, 1.0, 2.0).to(series.dtype)
    return torch.cat([series, (after - before) / steps[:, None]], dim=1)


def in_context(speech: Tensor) -> Tensor:
    """Concatenate each speech frame of (N, 40) with its neighbours in time order and return (N - 2 `CONTEXT`, 520)."""
    return speech.unfold(0, 2 * CONTEXT + 1, 1).transpose(1, 2).flatten(1)


def centred(series: Tensor, own: Tensor) -> Tensor:
    """Subtract the mean over the existing entries of a series (..., T, C); the other entries become 0."""
    weights = own[:, None].to(series.dtype)
    mean = (series * weights).sum(dim=-2, keepdim=True) / weights.sum().clamp(min=1)
    return (series - mean) * weights


def unit(series: Tensor, own: Tensor) -> Tensor:
    """Centre a series (..., T, C) over its existing entries and scale it to unit length."""
    series = centred(series, own)
    return series / (series.square().sum(dim=-2, keepdim=True) + ROUND_OFF).sqrt()
