"""Training augmentation: the two flips and the random covariance occur with their probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.augment import Augment
from dataset.config import AugmentConfig
from dataset.samples import Sample
from utils.features.base import MaskedArray


def sample(*, has_covariance: bool = True) -> Sample:
    mel = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    covariance = np.eye(6, dtype=np.float32) if has_covariance else np.zeros((6, 6), np.float32)
    covariance_mask = np.array(has_covariance)
    return Sample(
        0, 1.0, {"mel": MaskedArray(mel, np.array(True)), "covariance": MaskedArray(covariance, covariance_mask)}
    )


def test_flips_are_independent_and_have_their_probability() -> None:
    augment, original = Augment(AugmentConfig(mel_flip=0.25, covariance_noise=0)), sample()
    seen = {}
    for seed in range(4000):
        mel = augment(original, np.random.default_rng(seed)).inputs["mel"].values
        seen[mel.tobytes()] = seen.get(mel.tobytes(), 0) + 1
    time, frequency = np.flip(original.inputs["mel"].values, 2), np.flip(original.inputs["mel"].values, 1)
    counts = [
        seen[picture.tobytes()] / 4000 for picture in (original.inputs["mel"].values, time, frequency, np.flip(time, 1))
    ]
    assert len(seen) == 4
    np.testing.assert_allclose(counts, [0.5625, 0.1875, 0.1875, 0.0625], atol=0.03)


def test_noise_is_a_random_covariance_of_the_given_gain() -> None:
    augment, original = Augment(AugmentConfig(mel_flip=0, covariance_noise=1, noise_gain=0.01)), sample()
    noises = []
    for seed in range(500):
        changed = augment(original, np.random.default_rng(seed)).inputs["covariance"].values
        assert changed.dtype == np.float32
        np.testing.assert_array_equal(changed, changed.T)
        noises.append(changed - original.inputs["covariance"].values)
    # E[(gR)(gR)'] = g^2 K I.
    np.testing.assert_allclose(np.mean(noises, axis=0), np.eye(6) * 6e-4, atol=6e-5)
    assert np.linalg.eigvalsh(np.float64(noises[0])).min() > -1e-7


@pytest.mark.parametrize(("probability", "expected"), [(0.0, 0), (0.5, 500), (1.0, 1000)])
def test_noise_occurs_with_its_probability(probability: float, expected: int) -> None:
    augment = Augment(AugmentConfig(mel_flip=0, covariance_noise=probability))
    changed = sum(
        (augment(sample(), np.random.default_rng(seed)).inputs["covariance"].values != np.eye(6)).any()
        for seed in range(1000)
    )
    assert changed == pytest.approx(expected, abs=60 if 0 < probability < 1 else 0)


def test_absent_covariance_stays_absent_and_the_original_is_unchanged() -> None:
    augment = Augment(AugmentConfig(mel_flip=1, covariance_noise=1))
    original = sample(has_covariance=False)
    changed = augment(original, np.random.default_rng(0))
    assert not changed.inputs["covariance"].values.any() and not changed.inputs["covariance"].mask
    mel, flipped = original.inputs["mel"].values, changed.inputs["mel"].values
    assert mel[0, 0, 0] == 0 and flipped[0, 0, 0] == 63 and flipped.flags.c_contiguous


def test_same_generator_gives_the_same_augmentation() -> None:
    augment = Augment(AugmentConfig())
    first, second = (augment(sample(), np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(first.inputs["mel"].values, second.inputs["mel"].values)
    np.testing.assert_array_equal(first.inputs["covariance"].values, second.inputs["covariance"].values)
