"""Samples and batches: shapes, types, masks of absent modalities, flips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dataset.batch import Batch, collate
from dataset.samples import InputLayout, make_sample
from utils.errors import UsageError
from utils.features.base import ArraySpec
from utils.features.clip import ClipFacts, ClipFeatures, failed
from utils.features.config import FeatureConfig
from utils.features.mel import encode_image

K, SIZE = 4, 16
CONFIG = FeatureConfig.model_validate({"video": {"top_k": K}, "audio": {"image_size_px": SIZE}})
LAYOUT = InputLayout(CONFIG, ("mel", "covariance"))


def features(reason: str = "", *, size: int = SIZE, jpeg: bytes | None = None) -> ClipFeatures:
    image = np.tile(np.arange(size, dtype=np.uint8) * 9, (size, 1))
    encoded = encode_image(image, 100) if jpeg is None else jpeg
    facts = ClipFacts("partial" if reason else "ok", reason, 1.0, 25, 25.0, True)
    return ClipFeatures(facts, {"covariance": np.eye(K, dtype=np.float32), "mel": encoded})


def sample_of(clip: ClipFeatures, index: int = 0, target: float = 1.0):
    return make_sample(index, target, clip, LAYOUT)


def test_complete_clip_has_both_modalities() -> None:
    inputs = sample_of(features()).inputs
    mel, covariance = inputs["mel"], inputs["covariance"]
    assert mel.mask and covariance.mask
    assert mel.values.shape == (1, SIZE, SIZE) and mel.values.dtype == np.uint8
    assert np.abs(mel.values[0, 0].astype(int) - np.arange(SIZE) * 9).max() <= 3
    np.testing.assert_array_equal(covariance.values, np.eye(K))


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
    ids=["failed", "one frame", "silent", "truncated", "other size", "broken image"],
)
def test_absent_modality_becomes_zeros_with_a_false_mask(clip, has_mel: bool, has_covariance: bool) -> None:
    inputs = sample_of(clip).inputs
    mel, covariance = inputs["mel"], inputs["covariance"]
    assert (mel.mask, covariance.mask) == (has_mel, has_covariance)
    assert mel.values.shape == (1, SIZE, SIZE) and mel.values.any() == has_mel
    assert covariance.values.shape == (K, K) and covariance.values.any() == has_covariance


@pytest.fixture
def batch() -> Batch:
    return collate(
        [sample_of(features(), 5, 1.0), sample_of(failed("timeout"), 6, float("nan")), sample_of(features(), 7, 0.0)]
    )


def test_batch_types_and_shapes(batch: Batch) -> None:
    assert len(batch) == 3
    assert batch.index.tolist() == [5, 6, 7] and batch.index.dtype == torch.int64
    assert batch.target[[0, 2]].tolist() == [1.0, 0.0] and batch.target.isnan().tolist() == [False, True, False]
    mel, covariance = batch.inputs["mel"], batch.inputs["covariance"]
    assert mel.values.shape == (3, 1, SIZE, SIZE) and mel.values.dtype == torch.uint8
    assert covariance.values.shape == (3, K, K) and covariance.values.dtype == torch.float32
    assert mel.mask.tolist() == covariance.mask.tolist() == [True, False, True]


def test_select_applies_to_every_input(batch: Batch) -> None:
    chosen = batch.select(batch.inputs["mel"].mask)
    assert chosen.index.tolist() == [5, 7] and len(chosen) == 2
    assert all(len(modality.values) == len(modality.mask) == 2 for modality in chosen.inputs.values())


def test_padded_arrays_have_a_mask_per_entry() -> None:
    spec = ArraySpec("voice", (4, 2), np.float32, padded=True)
    filled = spec.fill(np.ones((3, 2), np.float32))
    assert filled.mask.tolist() == [True, True, True, False] and filled.values[:3].all() and not filled.values[3].any()
    assert not spec.fill(None).mask.any() and spec.fill(None).values.shape == (4, 2)


def test_input_without_its_setting_is_rejected() -> None:
    with pytest.raises(UsageError, match="features.speech_encoder"):
        InputLayout(CONFIG, ("speech_embedding",))


def test_flips_mirror_time_and_frequency_only(batch: Batch) -> None:
    mel = batch.inputs["mel"].values
    assert torch.equal(batch.flipped(time=True, frequency=False).inputs["mel"].values, mel.flip(3))
    assert torch.equal(batch.flipped(time=False, frequency=True).inputs["mel"].values, mel.flip(2))
    both = batch.flipped(time=True, frequency=True).inputs
    assert torch.equal(both["mel"].values, mel.flip([2, 3])) and both["covariance"] is batch.inputs["covariance"]
    assert batch.flipped(time=False, frequency=False) is batch
