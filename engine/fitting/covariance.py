"""What the covariance expert is fitted on, and how: labelled clips, fakes among them."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import torch

from engine.config import RunConfig
from engine.fitting.base import ExpertFitter, LabelledClips
from engine.fitting.described import describe_labelled
from models.experts.covariance import PROFILE_SIZE, CovarianceExpert, profiles
from utils.errors import WorkError

log = logging.getLogger(__name__)

LEAST_PER_CLASS = 8


class CovarianceFitter(ExpertFitter[CovarianceExpert]):
    """Fits the covariance expert: the one that learns from labelled fakes, since none can be made for it."""

    def __init__(self, features: np.ndarray, is_fake: np.ndarray, folds: np.ndarray) -> None:
        """Fit on features (n, D) float64, a row of NaN for a clip without a covariance."""
        self.features = features
        self.is_fake = is_fake
        self.folds = folds
        content = hashlib.sha256(features.tobytes())
        content.update(is_fake.tobytes())
        content.update(folds.astype(np.int64).tobytes())
        self.key = content.hexdigest()[:16]

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> CovarianceFitter | None:
        """See `ExpertFitter.gather`."""
        if (clips.target == 1).sum() < LEAST_PER_CLASS:
            log.warning(
                "the covariance expert stays out: %d labelled fakes; it needs %d",
                (clips.target == 1).sum(),
                LEAST_PER_CLASS,
            )
            return None
        features = np.full((len(clips), PROFILE_SIZE), np.nan)
        for row, kept in zip(features, describe_labelled(clips, config), strict=True):
            covariance = None if kept is None else kept.covariance()
            if covariance is not None:
                row[:] = profiles(torch.from_numpy(covariance)[None])[0].numpy()
        fitter = cls(features, clips.target == 1, clips.folds)
        fewest = min(fitter.counts(without_fold=fold).min() for fold in np.unique(clips.folds))
        if fewest < LEAST_PER_CLASS:
            log.warning(
                "the covariance expert stays out: without one of the folds %d clips of a class are left; it needs %d",
                fewest,
                LEAST_PER_CLASS,
            )
            return None
        log.info("covariance: %d real and %d fake clips", *fitter.counts())
        return fitter

    @property
    def known(self) -> np.ndarray:
        """(n,) bool: clips with a covariance."""
        return ~np.isnan(self.features).any(axis=1)

    def chosen(self, without_fold: int | None = None) -> np.ndarray:
        """(n,) bool: clips to fit on."""
        return self.known if without_fold is None else self.known & (self.folds != without_fold)

    def counts(self, without_fold: int | None = None) -> np.ndarray:
        """(2,) how many real and how many fake clips there are to fit on."""
        return np.bincount(self.is_fake[self.chosen(without_fold)].astype(int), minlength=2)

    def fit(self, expert: CovarianceExpert, *, seed: int, without_fold: int | None = None) -> None:
        """See `ExpertFitter.fit`. Nothing is drawn, so every seed gives the same."""
        if not self.counts(without_fold).all():
            raise WorkError("outside one fold the labels know one class only: nothing is left to fit the covariance on")
        chosen = self.chosen(without_fold)
        expert.fit(self.features[chosen], self.is_fake[chosen])

    @torch.inference_mode()
    def judge(self, expert: CovarianceExpert, clips: np.ndarray) -> np.ndarray:
        """See `ExpertFitter.judge`."""
        return expert.discriminant(torch.from_numpy(self.features[clips])).float().double().numpy()

    def stand_ins(self, expert: CovarianceExpert, fold: int) -> np.ndarray:
        """None: without labelled fakes this expert is not fitted."""
        return np.zeros(0)
