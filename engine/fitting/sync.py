"""What the sync expert is fitted on, and how: mouths of real clips beside their own voices."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import torch

from dataset.clip_bank import KeptClip
from engine.config import RunConfig
from engine.fitting.base import ExpertFitter, LabelledClips
from engine.fitting.described import describe_labelled
from models.experts.sync import SyncExpert
from utils.errors import WorkError
from utils.features.speech import PAD

log = logging.getLogger(__name__)

LEAST_CLIPS = 6
"""With fewer real clips, whichever fold is left out, the movements of these few people would pass for speech."""

SHIFT_FRAMES = 8
"""How far a stand-in's own voice is moved: 320 ms."""


class SyncFitter(ExpertFitter[SyncExpert]):
    """Fits the sync expert."""

    calibrates_on_stand_ins = True

    def __init__(self, kept: list[KeptClip | None], is_real: np.ndarray, folds: np.ndarray, groups: np.ndarray) -> None:
        """Fit on the real ones of these clips: their descriptions, folds (n,) and groups (n,)."""
        self.kept = kept
        self.is_real = is_real
        self.folds = folds
        self.groups = groups
        content = [clip.path.name if clip else "" for clip in kept]
        text = "\n".join([*content, str(is_real.tolist()), str(folds.tolist()), *groups])
        self.key = hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> SyncFitter | None:
        """See `ExpertFitter.gather`."""
        fitter = cls(describe_labelled(clips, config), clips.target == 0, clips.folds, clips.groups)
        usable = list(fitter.real_pairs(np.ones(len(clips), bool)))
        fewest = min((clips.folds[usable] != fold).sum() for fold in np.unique(clips.folds))
        if fewest < LEAST_CLIPS:
            log.warning(
                "the sync expert stays out: %d real clips with a face and sound, %d without the largest fold; it needs %d",
                len(usable),
                fewest,
                LEAST_CLIPS,
            )
            return None
        log.info("sync: %d real clips with a face and sound", len(usable))
        return fitter

    def real_pairs(self, chosen: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Mouth and speech of the real clips among the `chosen` (n,) bool, by their numbers."""
        pairs = {}
        for clip in np.flatnonzero(chosen & self.is_real).tolist():
            pair = self.pair(clip)
            if pair is not None:
                pairs[clip] = pair
        return pairs

    def pair(self, clip: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Mouth and speech of one clip, see `KeptClip.sync`."""
        kept = self.kept[clip]
        return None if kept is None else kept.sync()

    def fit(self, expert: SyncExpert, *, seed: int, without_fold: int | None = None) -> None:
        """See `ExpertFitter.fit`. Nothing is drawn, so every seed gives the same."""
        chosen = np.ones(len(self.folds), bool) if without_fold is None else self.folds != without_fold
        pairs = list(self.real_pairs(chosen).values())
        if len(pairs) < 2:
            raise WorkError("fewer than two real clips with a face and sound are left to fit on")
        expert.fit([mouth for mouth, _ in pairs], [speech for _, speech in pairs])

    @torch.inference_mode()
    def judge(self, expert: SyncExpert, clips: np.ndarray) -> np.ndarray:
        """See `ExpertFitter.judge`."""
        pairs = (self.pair(clip) for clip in clips)
        return np.array([float("nan") if pair is None else score(expert, *pair) for pair in pairs])

    @torch.inference_mode()
    def stand_ins(self, expert: SyncExpert, fold: int) -> np.ndarray:
        """See `ExpertFitter.stand_ins`: each real clip with another one's voice, and with its own moved by 320 ms."""
        pairs = self.real_pairs(self.folds == fold)
        scores = []
        for clip, (mouth, speech) in pairs.items():
            scores.append(score(expert, mouth, moved(speech, SHIFT_FRAMES)))
            donor = self.donor(clip, list(pairs))
            if donor is not None:
                other = pairs[donor][1]
                frames = min(len(mouth), len(other) - 2 * PAD)
                scores.append(score(expert, mouth[:frames], other[: frames + 2 * PAD]))
        return np.array(scores)

    def donor(self, clip: int, others: list[int]) -> int | None:
        """Whose voice a clip gets: the next clip's of its group, else the next one's; `None` when it is alone."""
        after = sorted((other for other in others if other != clip), key=lambda other: (other <= clip, other))
        related = [other for other in after if self.groups[other] == self.groups[clip]]
        return next(iter(related or after), None)


def score(expert: SyncExpert, mouth: np.ndarray, speech: np.ndarray) -> float:
    """The expert's raw log-odds of a mouth (T, 24, 28) and a speech (T + 2 PAD, 40)."""
    return float(np.float32(expert.score(torch.from_numpy(mouth), torch.from_numpy(speech))))


def moved(speech: np.ndarray, frames: int) -> np.ndarray:
    """Speech (N, 40) that comes earlier by some frames; at its end the last one stands."""
    return speech[np.minimum(np.arange(len(speech)) + frames, len(speech) - 1)]
