"""Features stored for a larger K give the same result as extraction with a smaller K."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.clips import CachedFeatures
from dataset.config import ExtractionConfig, LabelNames, VideoDirs
from dataset.extraction import extract_split
from dataset.splits import open_split
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.features.covariance import bin_covariance, frame_covariance, smaller_block
from utils.features.extract import extract_clip

ROUND_OFF = 1e-5


def histograms(n_frames: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 400, 256)
    drift = rng.integers(0, 40, (n_frames, 256)) * rng.integers(0, 3, (n_frames, 1))
    return (base + drift).astype(np.int32)


@pytest.mark.parametrize("top_k", [64, 96, 128])
@pytest.mark.parametrize("n_frames", [1, 2, 40, 64, 100, 127, 128, 300])
def test_the_block_of_fewer_frames_is_exact(n_frames, top_k):
    counts = histograms(n_frames)
    cut = smaller_block(frame_covariance(counts, 128), n_frames, top_k)
    np.testing.assert_allclose(cut, frame_covariance(counts, top_k), atol=ROUND_OFF)
    assert cut.shape == (top_k, top_k) and cut.dtype == np.float32


def test_the_block_of_fewer_bins_is_exact():
    counts = histograms(50)
    np.testing.assert_allclose(
        smaller_block(bin_covariance(counts, 128), 256, 64), bin_covariance(counts, 64), atol=ROUND_OFF
    )


def test_rounding_errors_of_a_constant_block_are_not_amplified():
    feature = np.full((8, 8), 0.25, np.float32)
    feature[0, 1] = np.nextafter(np.float32(0.25), np.float32(1))
    feature[7, 7] = 1.0
    assert not smaller_block(feature, 8, 4).any()


def config_of(top_k: int, covariance: str = "frames") -> FeatureConfig:
    return FeatureConfig.model_validate({"video": {"top_k": top_k, "covariance": covariance}})


def split_with(root, features: FeatureConfig):
    return open_split("trainset", root, LabelNames(), VideoDirs(), features)


def test_stored_features_for_a_smaller_k_equal_extraction(data_root):
    extract_split(split_with(data_root, config_of(12)), ExtractionConfig(workers=1), quiet=True)
    for top_k in (12, 8, 5):
        split = split_with(data_root, config_of(top_k))
        source = CachedFeatures(split)
        for name in ("t0.mp4", "t5.mp4"):
            fresh = extract_clip(split.video_path(name), config_of(top_k))
            stored = source(name)
            np.testing.assert_allclose(stored.values["covariance"], fresh.values["covariance"], atol=ROUND_OFF)
            assert stored.values["mel"] == fresh.values["mel"]


def test_a_larger_k_or_another_kind_is_refused(data_root):
    extract_split(split_with(data_root, config_of(8)), ExtractionConfig(workers=1), quiet=True)
    with pytest.raises(UsageError, match=r"video\.top_k: 8 stored, 12 requested"):
        CachedFeatures(split_with(data_root, config_of(12)))
    with pytest.raises(UsageError, match=r"video\.covariance: 'frames' stored, 'bins' requested"):
        CachedFeatures(split_with(data_root, config_of(4, "bins")))
    with pytest.raises(UsageError, match=r"video\.top_k: 8 stored, 4 requested"):
        extract_split(split_with(data_root, config_of(4)), ExtractionConfig(workers=1), quiet=True)
