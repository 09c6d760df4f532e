"""Samples and batches: shapes, types, masks of absent modalities, flips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dataset.batch import Batch, collate, make_sample
from utils.features.extract import ClipFacts, ClipFeatures, failed
from utils.features.mel import encode_picture

K, SIZE = 4, 16


def features(reason: str = "", *, size: int = SIZE, jpeg: bytes | None = None) -> ClipFeatures:
    picture = np.tile(np.arange(size, dtype=np.uint8) * 9, (size, 1))
    encoded = encode_picture(picture, 100) if jpeg is None else jpeg
    facts = ClipFacts("partial" if reason else "ok", reason, 1.0, 25, 25.0, True)
    return ClipFeatures(facts, np.eye(K, dtype=np.float32), encoded)


def sample_of(clip: ClipFeatures, index: int = 0, target: float = 1.0):
    return make_sample(index, target, clip, top_k=K, image_size_px=SIZE)


def test_a_whole_clip_fills_both_modalities() -> None:
    sample = sample_of(features())
    assert sample.has_mel and sample.has_covariance
    assert sample.mel.shape == (1, SIZE, SIZE) and sample.mel.dtype == np.uint8
    assert np.abs(sample.mel[0, 0].astype(int) - np.arange(SIZE) * 9).max() <= 3
    np.testing.assert_array_equal(sample.covariance, np.eye(K))


@pytest.mark.parametrize(
    ("clip", "has_mel", "has_covariance"),
    [
        (failed("unreadable"), False, False),
        (features("one_frame"), True, False),
        (features("silent"), False, True),
        (features("truncated"), True, True),
        (features(size=8), False, True),
        (features(jpeg=b"broken"), False, True),
    ],
    ids=["failed", "one frame", "silent", "truncated", "other size", "broken picture"],
)
def test_what_says_nothing_becomes_zeros_and_a_false_mask(clip, has_mel: bool, has_covariance: bool) -> None:
    sample = sample_of(clip)
    assert (sample.has_mel, sample.has_covariance) == (has_mel, has_covariance)
    assert sample.mel.shape == (1, SIZE, SIZE) and sample.mel.any() == has_mel
    assert sample.covariance.shape == (K, K) and sample.covariance.any() == has_covariance


@pytest.fixture
def batch() -> Batch:
    return collate(
        [sample_of(features(), 5, 1.0), sample_of(failed("timeout"), 6, float("nan")), sample_of(features(), 7, 0.0)]
    )


def test_batch_types_and_shapes(batch: Batch) -> None:
    assert len(batch) == 3
    assert batch.index.tolist() == [5, 6, 7] and batch.index.dtype == torch.int64
    assert batch.target[[0, 2]].tolist() == [1.0, 0.0] and batch.target.isnan().tolist() == [False, True, False]
    assert batch.mel.shape == (3, 1, SIZE, SIZE) and batch.mel.dtype == torch.uint8
    assert batch.covariance.shape == (3, K, K) and batch.covariance.dtype == torch.float32
    assert batch.has_mel.tolist() == batch.has_covariance.tolist() == [True, False, True]


def test_selecting_keeps_the_rows_of_every_field(batch: Batch) -> None:
    chosen = batch.select(batch.has_mel)
    assert chosen.index.tolist() == [5, 7] and chosen.mel.shape[0] == 2 and len(chosen) == 2


def test_flips_mirror_time_and_frequency_and_nothing_else(batch: Batch) -> None:
    assert torch.equal(batch.flipped(time=True, frequency=False).mel, batch.mel.flip(3))
    assert torch.equal(batch.flipped(time=False, frequency=True).mel, batch.mel.flip(2))
    both = batch.flipped(time=True, frequency=True)
    assert torch.equal(both.mel, batch.mel.flip([2, 3])) and torch.equal(both.covariance, batch.covariance)
    assert batch.flipped(time=False, frequency=False) is batch
