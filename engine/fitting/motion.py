"""The fitter of the motion expert, which models the irregularity of real faces' motion. It needs no fakes."""

from __future__ import annotations

import logging

import numpy as np
import torch

from engine.config import RunConfig
from engine.fitting.base import FITTERS, ExpertFitter, LabelledClips, enough_real_clips
from engine.fitting.clip_features import extract_labelled
from models.experts.motion import LEAST_STEPS, MotionConfig, MotionExpert, smoothness
from utils.cache import entry_key
from utils.errors import WorkError

log = logging.getLogger(__name__)

LEAST_CLIPS = 6
"""Minimum number of real clips with a face outside every fold."""

NORMAL_MAD = 1.4826
"""Ratio of a normal distribution's standard deviation to its median absolute deviation."""

LEAST_SPREAD = 1e-3


@FITTERS.register("motion", MotionConfig)
class MotionFitter(ExpertFitter[MotionExpert]):
    """The fitter of the motion expert."""

    def __init__(self, statistics: np.ndarray, is_real: np.ndarray, folds: np.ndarray) -> None:
        """Store the statistics (n, 2) of the labelled clips, see `smoothness`; NaN for a clip that cannot be scored."""
        self.statistics = statistics
        self.is_real = is_real
        self.folds = folds
        self.key = entry_key(statistics.tolist(), is_real.tolist(), folds.tolist())

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> MotionFitter | None:
        """Compute the statistics of the labelled clips; see `ExpertFitter.gather`."""
        statistics = np.full((len(clips), 2), np.nan)
        for row, clip in zip(statistics, extract_labelled(clips, config), strict=True):
            motion = None if clip is None else clip.array("motion")
            if motion is not None and len(motion) >= LEAST_STEPS:
                steps = torch.from_numpy(motion)[None]
                row[:] = smoothness(steps, torch.ones(steps.shape[:2], dtype=torch.bool))[0].numpy()
        fitter = cls(statistics, clips.target == 0, clips.folds)
        folds = clips.folds[fitter.chosen()]
        if not enough_real_clips("motion", "a moving face", folds, clips.folds, least=LEAST_CLIPS):
            return None
        log.info("motion: %d real clips with a face", len(fitter.reals()))
        return fitter

    def chosen(self, without_fold: int | None = None) -> np.ndarray:
        """Return a mask (n,) bool of the real clips to fit on: those with a face, outside the fold."""
        known = self.is_real & ~np.isnan(self.statistics).any(axis=1)
        return known if without_fold is None else known & (self.folds != without_fold)

    def reals(self, without_fold: int | None = None) -> np.ndarray:
        """Return the statistics (m, 2) of the real clips to fit on."""
        return self.statistics[self.chosen(without_fold)]

    @torch.no_grad()
    def fit(self, expert: MotionExpert, *, seed: int, without_fold: int | None = None) -> None:
        """Fit the expert. No random choice is made, so every seed gives the same result."""
        reals = self.reals(without_fold)
        if len(reals) < LEAST_CLIPS:
            raise WorkError(f"fewer than {LEAST_CLIPS} real clips with a face are left to fit the motion expert on")
        centre = np.median(reals, axis=0)
        spread = NORMAL_MAD * np.median(np.abs(reals - centre), axis=0)
        expert.centre.copy_(torch.from_numpy(centre))
        expert.spread.copy_(torch.from_numpy(np.maximum(spread, LEAST_SPREAD)))

    @torch.inference_mode()
    def score(self, expert: MotionExpert, clips: np.ndarray) -> np.ndarray:
        """Score labelled clips; see `ExpertFitter.score`."""
        return expert.score(torch.from_numpy(self.statistics[clips])).float().double().numpy()

    def score_pseudo_fakes(self, expert: MotionExpert, fold: int) -> np.ndarray:
        """Return no scores: there are no pseudo-fakes for this expert."""
        return np.zeros(0)
