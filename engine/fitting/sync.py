"""The fitter of the sync expert, which learns from the mouth and speech of real clips."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import numpy as np
import torch

from engine.config import RunConfig
from engine.fitting.base import FITTERS, ExpertFitter, LabelledClips, enough_real_clips
from engine.fitting.canonical import canonical_maps, principal_axes
from engine.fitting.clip_features import CachedClip, extract_labelled
from models.experts.sync import SyncConfig, SyncExpert, in_context, standardise, with_velocity
from utils.errors import WorkError
from utils.features.speech import MAX_LAG, PAD

log = logging.getLogger(__name__)

LEAST_CLIPS = 6
"""Minimum number of real clips outside every fold. With fewer, the maps overfit to the movements of a few people."""

SHIFT_FRAMES = 8
"""Shift of the speech in a pseudo-fake, in frames: 320 ms."""


@FITTERS.register("sync", SyncConfig)
class SyncFitter(ExpertFitter[SyncExpert]):
    """The fitter of the sync expert."""

    calibrates_on_pseudo_fakes = True

    def __init__(
        self, features: list[CachedClip | None], is_real: np.ndarray, folds: np.ndarray, groups: np.ndarray
    ) -> None:
        """Store the features, folds (n,) and groups (n,) of the labelled clips; only real ones are fitted on."""
        self.features = features
        self.is_real = is_real
        self.folds = folds
        self.groups = groups
        content = [clip.path.name if clip else "" for clip in features]
        text = "\n".join([*content, str(is_real.tolist()), str(folds.tolist()), *groups])
        self.key = hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> SyncFitter | None:
        """Extract mouths and speech of the labelled clips; see `ExpertFitter.gather`."""
        fitter = cls(extract_labelled(clips, config), clips.target == 0, clips.folds, clips.groups)
        usable = list(fitter.real_pairs(np.ones(len(clips), bool)))
        if not enough_real_clips("sync", "a face and audio", clips.folds[usable], clips.folds, least=LEAST_CLIPS):
            return None
        log.info("sync: %d real clips with a face and audio", len(usable))
        return fitter

    def real_pairs(self, chosen: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Return mouth and speech of the real clips in the mask `chosen` (n,) bool, by clip index."""
        pairs = {}
        for clip in np.flatnonzero(chosen & self.is_real).tolist():
            pair = self.pair(clip)
            if pair is not None:
                pairs[clip] = pair
        return pairs

    def pair(self, clip: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return mouth and speech of one clip, see `CachedClip.sync`."""
        features = self.features[clip]
        return None if features is None else features.sync()

    def fit(self, expert: SyncExpert, *, seed: int, without_fold: int | None = None) -> None:
        """Fit the maps. No random choice is made, so every seed gives the same result."""
        chosen = np.ones(len(self.folds), bool) if without_fold is None else self.folds != without_fold
        pairs = list(self.real_pairs(chosen).values())
        if len(pairs) < 2:
            raise WorkError("fewer than two real clips with a face and audio are left to fit on")
        fit_sync(expert, [mouth for mouth, _ in pairs], [speech for _, speech in pairs])

    @torch.inference_mode()
    def score(self, expert: SyncExpert, clips: np.ndarray) -> np.ndarray:
        """Score labelled clips; see `ExpertFitter.score`."""
        pairs = (self.pair(clip) for clip in clips)
        return np.array([float("nan") if pair is None else sync_score(expert, *pair) for pair in pairs])

    @torch.inference_mode()
    def score_pseudo_fakes(self, expert: SyncExpert, fold: int) -> np.ndarray:
        """Score each real clip with its own speech shifted and with another clip's speech; see `ExpertFitter`."""
        pairs = self.real_pairs(self.folds == fold)
        scores = []
        for clip, (mouth, speech) in pairs.items():
            scores.append(sync_score(expert, mouth, shifted(speech, SHIFT_FRAMES)))
            donor = self.donor(clip, list(pairs))
            if donor is not None:
                other = pairs[donor][1]
                frames = min(len(mouth), len(other) - 2 * PAD)
                scores.append(sync_score(expert, mouth[:frames], other[: frames + 2 * PAD]))
        return np.array(scores)

    def donor(self, clip: int, others: list[int]) -> int | None:
        """Return the clip that provides the speech for a pseudo-fake of `clip`.

        It is the next clip of the same group, cyclically, or the next of all clips if the group has no other; `None` if
        there is no other clip.
        """
        after = sorted((other for other in others if other != clip), key=lambda other: (other <= clip, other))
        related = [other for other in after if self.groups[other] == self.groups[clip]]
        return next(iter(related or after), None)


@torch.no_grad()
def fit_sync(expert: SyncExpert, mouths: Sequence[np.ndarray], speeches: Sequence[np.ndarray]) -> None:
    """Fit the maps to the shared space on real clips.

    Args:
        expert: receives the result.
        mouths: (T, 24, 28) uint8 per clip.
        speeches: (T + 2 `PAD`, 40) float32 per clip.
    """
    pixels = [standardise(torch.from_numpy(mouth), whole(mouth)).numpy() for mouth in mouths]
    audio = np.concatenate(
        [
            in_context(torch.from_numpy(speech).double())[MAX_LAG : MAX_LAG + len(mouth)].numpy()
            for mouth, speech in zip(mouths, speeches, strict=True)
        ]
    )
    all_pixels = np.concatenate(pixels)
    mouth_mean, speech_mean = all_pixels.mean(axis=0), audio.mean(axis=0)
    mouth_map = principal_axes(all_pixels - mouth_mean, expert.config.mouth_dims)
    speech_map = principal_axes(audio - speech_mean, expert.config.speech_dims)
    moving = [with_velocity(torch.from_numpy((clip - mouth_mean) @ mouth_map), whole(clip)).numpy() for clip in pixels]
    maps = canonical_maps(
        np.concatenate(moving), (audio - speech_mean) @ speech_map, components=expert.config.components
    )
    for buffer, values in (
        (expert.mouth_mean, mouth_mean),
        (expert.mouth_map, mouth_map),
        (expert.mouth_mix, maps.left),
        (expert.speech_mean, speech_mean),
        (expert.speech_mix, speech_map @ maps.right),
        (expert.strength, maps.strength),
    ):
        buffer.copy_(torch.from_numpy(values))


def sync_score(expert: SyncExpert, mouth: np.ndarray, speech: np.ndarray) -> float:
    """Return the expert's raw log-odds for a mouth (T, 24, 28) and speech (T + 2 PAD, 40)."""
    return float(np.float32(expert.score(torch.from_numpy(mouth), torch.from_numpy(speech))))


def shifted(speech: np.ndarray, frames: int) -> np.ndarray:
    """Return speech (N, 40) advanced by `frames` frames; the last frame is repeated at the end."""
    return speech[np.minimum(np.arange(len(speech)) + frames, len(speech) - 1)]


def whole(series: np.ndarray) -> torch.Tensor:
    """Return the mask (T,) bool of a series (T, ...) without padding."""
    return torch.ones(len(series), dtype=torch.bool)
