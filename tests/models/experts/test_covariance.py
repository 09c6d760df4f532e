"""The covariance expert: profiles that do not depend on K or the clip's length, and the fitted discriminant."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.fitting.discriminant import fit_discriminant
from models.experts.covariance import POINTS, PROFILE_SIZE, CovarianceConfig, CovarianceExpert, profiles
from tests.support import FEATURE_CONFIG, random_batch
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.features.covariance import frame_covariance


def covariance_of(frames: int, top_k: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    drift = np.linspace(1, 2, frames)[:, None]
    histograms = (1000 * drift * rng.random((1, 256)) + rng.integers(0, 80, (frames, 256))).astype(np.int32)
    return torch.from_numpy(frame_covariance(histograms, top_k))


def fitted(features: np.ndarray, is_fake: np.ndarray, ridge: float = 1.0) -> CovarianceExpert:
    expert = CovarianceExpert(CovarianceConfig(ridge=ridge))
    fit_discriminant(expert, features, is_fake, ridge=ridge)
    return expert


def test_profiles_are_row_means_and_variances() -> None:
    covariance = covariance_of(POINTS, POINTS)
    rows, variances = profiles(covariance[None])[0].split(POINTS)
    np.testing.assert_allclose(rows, covariance.mean(dim=1), atol=1e-6)
    np.testing.assert_allclose(variances, covariance.diagonal(), atol=1e-6)


def test_padding_for_a_larger_k_is_ignored() -> None:
    short = [profiles(covariance_of(50, top_k)[None]) for top_k in (50, 64, 128)]
    for other in short[1:]:
        torch.testing.assert_close(other, short[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [1, 2, 7, 200])
def test_profiles_are_finite_for_every_size(size: int) -> None:
    ones = torch.ones(2, size, size)
    assert torch.equal(profiles(ones), torch.ones(2, PROFILE_SIZE, dtype=torch.float64))
    assert not profiles(torch.zeros(2, size, size)).any()


def test_class_shift_is_detected_and_noise_is_not_amplified() -> None:
    rng = np.random.default_rng(0)
    is_fake = np.arange(200) % 4 == 0
    features = rng.standard_normal((200, PROFILE_SIZE))
    features[:, 5] *= 1e-3
    features[is_fake, 5] += 3e-3
    features[:, 9] = 0.7
    expert = fitted(features[:100], is_fake[:100])
    scores = expert.discriminant(torch.from_numpy(features[100:])).numpy()
    held = is_fake[100:]
    assert scores[held].mean() > 0.5 > 0 > scores[~held].mean()
    assert np.abs(expert.weight.numpy()).argmax() == 5 and torch.isfinite(expert.weight).all()
    stronger = fitted(features[:100], is_fake[:100], ridge=100.0)
    assert stronger.weight.norm() < 0.1 * expert.weight.norm()


def test_the_class_means_have_opposite_scores() -> None:
    rng = np.random.default_rng(1)
    is_fake = np.arange(60) < 10
    features = rng.standard_normal((60, PROFILE_SIZE)) + is_fake[:, None]
    expert = fitted(features, is_fake)
    means = torch.from_numpy(np.stack([features[~is_fake].mean(axis=0), features[is_fake].mean(axis=0)]))
    real, fake = expert.discriminant(means).tolist()
    assert fake == pytest.approx(-real, rel=1e-3) and fake > 0


def test_clips_with_a_covariance_are_scored() -> None:
    batch = random_batch([True, False, True], [True, True, False])
    expert = CovarianceExpert(CovarianceConfig())
    assert expert.mask(batch).tolist() == [True, True, False]
    raw = expert.raw(batch)
    assert raw.dtype == torch.float32 and torch.isfinite(raw).all() and len(raw.unique()) == 3
    restored = CovarianceExpert(CovarianceConfig())
    restored.load_state_dict(expert.state_dict())
    assert torch.equal(restored.raw(batch), raw) and not list(expert.parameters())


def test_covariance_between_bins_is_rejected() -> None:
    CovarianceExpert.check_features(FEATURE_CONFIG)
    with pytest.raises(UsageError, match="covariance=frames"):
        CovarianceExpert.check_features(FeatureConfig.model_validate({"video": {"covariance": "bins"}}))
