"""Training augmentation of System A: flips of the mel-spectrogram image and a random covariance added to the video feature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataset.config import AugmentConfig
from dataset.samples import Sample


class Augment:
    """Random augmentation of training samples."""

    def __init__(self, config: AugmentConfig) -> None:
        """Use the probabilities of the config."""
        self.config = config

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return an augmented copy of a sample, drawing from `rng`. A missing modality is left unchanged."""
        inputs = dict(sample.inputs)
        flips = tuple(axis for axis in (2, 1) if rng.random() < self.config.mel_flip)
        if "mel" in inputs and flips:
            mel = inputs["mel"]
            inputs["mel"] = replace(mel, values=np.ascontiguousarray(np.flip(mel.values, flips)))
        covariance = inputs.get("covariance")
        if covariance is not None and covariance.mask.all() and rng.random() < self.config.covariance_noise:
            inputs["covariance"] = replace(covariance, values=self.noisy(covariance.values, rng))
        return replace(sample, inputs=inputs)

    def noisy(self, covariance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add (gR)(gR)' with R standard normal (K, K) to the covariance and return it symmetrised, (K, K) float32."""
        noise = self.config.noise_gain * rng.standard_normal(covariance.shape, dtype=np.float32)
        changed = covariance + noise @ noise.T
        return (changed + changed.T) / 2
