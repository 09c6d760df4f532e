"""The frame covariance compared with the definition of the report, based on `numpy.cov`."""

from __future__ import annotations

import numpy as np
import pytest

from utils.features import covariance
from utils.features.covariance import bin_covariance, frame_covariance, frame_covariance_row_sums, select_frames


def random_histograms(n_frames: int, seed: int = 0) -> np.ndarray:
    """Return histograms of 10,000 values each, as for frames of equal size."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(256), n_frames)
    return np.stack([rng.multinomial(10_000, share) for share in shares]).astype(np.int32)


def reference(histograms: np.ndarray, top_k: int) -> np.ndarray:
    """Follow the text of the report step by step, with the whole (T, T) matrix."""
    matrix = np.cov(histograms, rowvar=True)
    order = np.argsort(matrix.sum(axis=1), kind="stable")[:top_k]
    block = matrix[np.ix_(order, order)]
    scaled = (block - block.min()) / (block.max() - block.min())
    padded = np.zeros((top_k, top_k), np.float32)
    padded[: len(scaled), : len(scaled)] = scaled
    return padded


@pytest.mark.parametrize("n_frames", [2, 3, 31, 64, 65, 128, 200])
def test_row_sums_are_those_of_the_full_matrix_across_block_boundaries(
    n_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covariance, "FRAMES_PER_BLOCK", 64)
    histograms = random_histograms(n_frames, seed=n_frames)
    expected = np.cov(histograms, rowvar=True).sum(axis=1)
    np.testing.assert_allclose(
        frame_covariance_row_sums(histograms), expected, rtol=1e-9, atol=1e-9 * abs(expected).max()
    )


@pytest.mark.parametrize("n_frames", [2, 5, 127, 128, 129, 300])
@pytest.mark.parametrize("top_k", [16, 128])
def test_equals_the_definition_with_numpy_cov(n_frames: int, top_k: int) -> None:
    histograms = random_histograms(n_frames, seed=n_frames)
    feature = frame_covariance(histograms, top_k)
    assert feature.shape == (top_k, top_k) and feature.dtype == np.float32
    np.testing.assert_allclose(feature, reference(histograms, top_k), atol=1e-5)


def test_frames_are_sorted_by_ascending_row_sum() -> None:
    histograms = random_histograms(40, seed=3)
    sums = np.cov(histograms, rowvar=True).sum(axis=1)
    selected = select_frames(frame_covariance_row_sums(histograms), 10)
    assert list(selected) == list(np.argsort(sums)[:10])
    assert list(select_frames(np.array([2.0, 1.0, 1.0, 1.0, 0.0]), 3)) == [4, 1, 2], "equal sums stay in temporal order"


def test_short_clip_is_scaled_before_it_is_padded() -> None:
    feature = frame_covariance(random_histograms(20), 128)
    assert feature[:20, :20].min() == 0.0 and feature[:20, :20].max() == 1.0
    assert not feature[20:].any() and not feature[:, 20:].any()
    assert (feature[:20, :20] == 0).sum() <= 2, "only the minimum, which lies on both sides of the diagonal, is zero"


@pytest.mark.parametrize("n_frames", [0, 1])
def test_fewer_than_two_frames_give_zeros(n_frames: int) -> None:
    feature = frame_covariance(random_histograms(2)[:n_frames], 32)
    assert feature.shape == (32, 32) and not feature.any()
    assert not bin_covariance(random_histograms(2)[:n_frames], 32).any()


@pytest.mark.parametrize("n_frames", [2, 50, 300])
def test_a_static_video_gives_zeros_and_no_nan(n_frames: int) -> None:
    still = np.repeat(random_histograms(1), n_frames, axis=0)
    assert not frame_covariance(still, 64).any()
    flat = np.full((n_frames, 256), 39, np.int32)
    assert not frame_covariance(flat, 64).any()


def test_covariance_between_bins_is_padded_beyond_256() -> None:
    feature = bin_covariance(random_histograms(30), 300)
    assert feature.shape == (300, 300) and np.isfinite(feature).all()
    assert feature[:256, :256].max() == 1.0 and not feature[256:].any()
