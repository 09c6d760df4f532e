"""Training augmentation of System A: flips of the mel picture and a random covariance added to the video feature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataset.batch import Sample
from dataset.config import AugmentConfig


class Augment:
    """Random changes of a training sample, drawn from the generator that is passed in."""

    def __init__(self, config: AugmentConfig) -> None:
        """Take the probabilities from the config."""
        self._config = config

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """A changed copy of a sample; an absent modality stays as it is."""
        mel, covariance = sample.mel, sample.covariance
        for axis in (2, 1):
            if rng.random() < self._config.mel_flip:
                mel = np.flip(mel, axis)
        if sample.has_covariance and rng.random() < self._config.covariance_noise:
            covariance = self.noisy(covariance, rng)
        return replace(sample, mel=np.ascontiguousarray(mel), covariance=covariance)

    def noisy(self, covariance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The covariance plus (gR)(gR)', R standard normal (K, K), made symmetric against round-off; (K, K) float32."""
        noise = self._config.noise_gain * rng.standard_normal(covariance.shape, dtype=np.float32)
        changed = covariance + noise @ noise.T
        return (changed + changed.T) / 2
