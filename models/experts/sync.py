"""The sync expert: do mouth and voice belong together? Learned from real clips alone: no fake, no label.

Canonical correlation (Hotelling, 1936) between the moving mouth and the speech around each of its frames. For a real clip the
correlation at no lag stands out among those at other lags; a swapped, dubbed or shifted voice has no such peak. Mouths that a
generator drove with the very voice do have one: the expert does not see them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dataset.batch import Batch
from models.experts.base import EXPERTS, Expert, ExpertConfig
from models.experts.canonical import canonical_maps, principal_axes
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.features.face.features import MOUTH_COLUMNS, MOUTH_ROWS
from utils.features.speech import CONTEXT, MAX_LAG, PAD, SPEECH_BANDS

MOUTH_SIZE = MOUTH_ROWS * MOUTH_COLUMNS
SPEECH_SIZE = (2 * CONTEXT + 1) * SPEECH_BANDS

TOLERANCE = 1
"""The peak may lie this many frames off: recordings are rarely in time to less than 40 ms."""

ROUND_OFF = 1e-6


class SyncConfig(ExpertConfig):
    """Config of the sync expert."""

    mouth_dims: int = Field(20, ge=1, le=MOUTH_SIZE, description="principal components of the mouth")
    speech_dims: int = Field(30, ge=1, le=SPEECH_SIZE, description="principal components of the speech")
    components: int = Field(6, ge=1, description="pairs of canonical directions; at most as many as dimensions")


@EXPERTS.register("sync", SyncConfig)
class SyncExpert(Expert):
    """The sync expert. Its linear maps into the shared space are buffers.

    Attributes:
        mouth_mean: (672,) and mouth_map (672, P): the mouth's principal components.
        mouth_mix: (2 P, C): these and their speed into the shared space.
        speech_mean: (520,) and speech_mix (520, C): speech with its context into the shared space.
        strength: (C,) canonical correlations, the weights of the C directions.
    """

    mouth_mean: Tensor
    mouth_map: Tensor
    mouth_mix: Tensor
    speech_mean: Tensor
    speech_mix: Tensor
    strength: Tensor

    def __init__(self, config: SyncConfig) -> None:
        """Begin with random maps.

        Raises:
            UsageError: more components than dimensions.
        """
        super().__init__(config)
        self.config = config
        if config.components > min(2 * config.mouth_dims, config.speech_dims):
            raise UsageError("the sync expert's components outnumber its dimensions: 2 * mouth_dims or speech_dims")
        self.register_buffer("mouth_mean", torch.zeros(MOUTH_SIZE))
        self.register_buffer("mouth_map", torch.randn(MOUTH_SIZE, config.mouth_dims))
        self.register_buffer("mouth_mix", torch.randn(2 * config.mouth_dims, config.components))
        self.register_buffer("speech_mean", torch.zeros(SPEECH_SIZE))
        self.register_buffer("speech_mix", torch.randn(SPEECH_SIZE, config.components))
        self.register_buffer("strength", torch.rand(config.components))

    @classmethod
    def check_features(cls, features: FeatureConfig) -> None:
        """See `Expert.check_features`."""
        if not features.face:
            raise UsageError("the sync expert needs features.face=true")

    def mask(self, batch: Batch) -> Tensor:
        """(B,) bool: clips with a face and sound beside it."""
        return batch.has_sync

    def raw(self, batch: Batch) -> Tensor:
        """(B,) float32: how far the correlation at no lag falls short of standing out, see `score`."""
        scores = torch.zeros(len(batch), device=batch.mouth.device)
        for row in torch.nonzero(batch.has_sync).flatten().tolist():
            # One by one: the score of a clip does not hang on the length of its neighbours.
            frames = int(batch.mouth_frames[row])
            scores[row] = self.score(batch.mouth[row, :frames], batch.speech[row, : frames + 2 * PAD])
        return scores

    def score(self, mouth: Tensor, speech: Tensor) -> Tensor:
        """Higher for a voice that does not belong to the mouth.

        Args:
            mouth: (T, 24, 28) uint8.
            speech: (T + 2 `PAD`, 40), see `speech_of_pcm`.

        Returns:
            () float64: the median of `curve` less its best value within `TOLERANCE` frames of no lag; in [-2, 1].
        """
        curve = self.curve(mouth, speech)
        return curve.median() - curve[MAX_LAG - TOLERANCE : MAX_LAG + TOLERANCE + 1].max()

    def curve(self, mouth: Tensor, speech: Tensor) -> Tensor:
        """Correlation of mouth and speech, weighted by strength, for speech `-MAX_LAG` to `MAX_LAG` frames later (25,)."""
        components = (levelled(mouth) - self.mouth_mean.double()) @ self.mouth_map.double()
        moving = unit(with_speed(components) @ self.mouth_mix.double())
        heard = (in_context(speech.double()) - self.speech_mean.double()) @ self.speech_mix.double()
        lagged = heard.unfold(0, len(mouth), 1).transpose(1, 2)
        correlation = (unit(lagged, axis=1) * moving).sum(dim=1)
        strength = self.strength.double()
        return correlation @ strength / strength.sum()

    @torch.no_grad()
    def fit(self, mouths: Sequence[np.ndarray], speeches: Sequence[np.ndarray]) -> None:
        """Learn the maps from real clips.

        Args:
            mouths: per clip (T, 24, 28) uint8.
            speeches: per clip (T + 2 `PAD`, 40) float32.
        """
        pixels = [levelled(torch.from_numpy(mouth)).numpy() for mouth in mouths]
        heard = np.concatenate(
            [
                in_context(torch.from_numpy(speech).double())[MAX_LAG : MAX_LAG + len(mouth)].numpy()
                for mouth, speech in zip(mouths, speeches, strict=True)
            ]
        )
        everything = np.concatenate(pixels)
        mouth_mean, speech_mean = everything.mean(axis=0), heard.mean(axis=0)
        mouth_map = principal_axes(everything - mouth_mean, self.config.mouth_dims)
        speech_map = principal_axes(heard - speech_mean, self.config.speech_dims)
        moving = [with_speed(torch.from_numpy((clip - mouth_mean) @ mouth_map)).numpy() for clip in pixels]
        maps = canonical_maps(
            np.concatenate(moving), (heard - speech_mean) @ speech_map, components=self.config.components
        )
        for buffer, values in (
            (self.mouth_mean, mouth_mean),
            (self.mouth_map, mouth_map),
            (self.mouth_mix, maps.left),
            (self.speech_mean, speech_mean),
            (self.speech_mix, speech_map @ maps.right),
            (self.strength, maps.strength),
        ):
            buffer.copy_(torch.from_numpy(values))


def levelled(mouth: Tensor) -> Tensor:
    """Pixels (T, 24, 28) as (T, 672) float64: each less its mean over the clip, with unit spread over all: motion is left."""
    pixels = mouth.flatten(1).double()
    pixels = pixels - pixels.mean(dim=0)
    return pixels / (pixels.square().mean().sqrt() + ROUND_OFF)


def with_speed(series: Tensor) -> Tensor:
    """A series (T, P), T > 1, with its rate of change beside it (T, 2 P)."""
    return torch.cat([series, torch.gradient(series, dim=0)[0]], dim=1)


def in_context(speech: Tensor) -> Tensor:
    """Each speech frame of (N, 40) with its neighbours, the earliest first: (N - 2 `CONTEXT`, 520)."""
    return speech.unfold(0, 2 * CONTEXT + 1, 1).transpose(1, 2).flatten(1)


def unit(series: Tensor, axis: int = 0) -> Tensor:
    """A series less its mean over time, at unit length."""
    centred = series - series.mean(dim=axis, keepdim=True)
    return centred / (centred.square().sum(dim=axis, keepdim=True) + ROUND_OFF).sqrt()
