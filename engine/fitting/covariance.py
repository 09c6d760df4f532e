"""The fitter of the covariance expert: labelled real and fake clips."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import torch

from engine.config import RunConfig
from engine.fitting.base import FITTERS, ExpertFitter, LabelledClips, enough_of_each_class
from engine.fitting.clip_features import extract_labelled
from engine.fitting.discriminant import fit_discriminant
from models.experts.covariance import PROFILE_SIZE, CovarianceConfig, CovarianceExpert, profiles
from utils.errors import WorkError

log = logging.getLogger(__name__)

LEAST_PER_CLASS = 8


@FITTERS.register("covariance", CovarianceConfig)
class CovarianceFitter(ExpertFitter[CovarianceExpert]):
    """The fitter of the covariance expert. It requires labelled fakes, because there are no pseudo-fakes for it."""

    def __init__(self, features: np.ndarray, is_fake: np.ndarray, folds: np.ndarray) -> None:
        """Store the features (n, D) float64; the row of a clip without a covariance is NaN."""
        self.features = features
        self.is_fake = is_fake
        self.folds = folds
        content = hashlib.sha256(features.tobytes())
        content.update(is_fake.tobytes())
        content.update(folds.astype(np.int64).tobytes())
        self.key = content.hexdigest()[:16]

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> CovarianceFitter | None:
        """Extract the covariances of the labelled clips; see `ExpertFitter.gather`."""
        if (clips.target == 1).sum() < LEAST_PER_CLASS:
            log.warning(
                "the covariance expert is left out: %d labelled fakes; it needs %d",
                (clips.target == 1).sum(),
                LEAST_PER_CLASS,
            )
            return None
        features = np.full((len(clips), PROFILE_SIZE), np.nan)
        for row, clip in zip(features, extract_labelled(clips, config), strict=True):
            covariance = None if clip is None else clip.covariance()
            if covariance is not None:
                row[:] = profiles(torch.from_numpy(covariance)[None])[0].numpy()
        fitter = cls(features, clips.target == 1, clips.folds)
        if not enough_of_each_class("covariance", "clips", fitter.counts, clips.folds, least=LEAST_PER_CLASS):
            return None
        log.info("covariance: %d real and %d fake clips", *fitter.counts())
        return fitter

    def chosen(self, without_fold: int | None = None) -> np.ndarray:
        """Return a mask (n,) bool of the clips to fit on: those with a covariance, outside the fold."""
        known = ~np.isnan(self.features).any(axis=1)
        return known if without_fold is None else known & (self.folds != without_fold)

    def counts(self, without_fold: int | None = None) -> np.ndarray:
        """Return the numbers of real and of fake clips to fit on, (2,)."""
        return np.bincount(self.is_fake[self.chosen(without_fold)].astype(int), minlength=2)

    def fit(self, expert: CovarianceExpert, *, seed: int, without_fold: int | None = None) -> None:
        """Fit the discriminant. No random choice is made, so every seed gives the same result."""
        if not self.counts(without_fold).all():
            raise WorkError("all labelled clips outside one fold are of one class; the covariance expert needs both")
        chosen = self.chosen(without_fold)
        fit_discriminant(expert, self.features[chosen], self.is_fake[chosen], ridge=expert.ridge)

    @torch.inference_mode()
    def score(self, expert: CovarianceExpert, clips: np.ndarray) -> np.ndarray:
        """Score labelled clips; see `ExpertFitter.score`."""
        return expert.discriminant(torch.from_numpy(self.features[clips])).float().double().numpy()

    def score_pseudo_fakes(self, expert: CovarianceExpert, fold: int) -> np.ndarray:
        """Return no scores: there are no pseudo-fakes for this expert."""
        return np.zeros(0)
