"""A split as a torch data set: features from disk equal those computed on the fly, and every labelled clip has a row."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dataset.augment import Augment
from dataset.clips import ClipDataset, make_loader, open_clips
from dataset.config import AugmentConfig, DataConfig, ExtractionConfig, LabelNames, VideoDirs
from dataset.extraction import extract_split
from dataset.samples import InputLayout, grouped
from dataset.sampling import BatchShare
from dataset.splits import Split, open_split
from utils.errors import UsageError
from utils.features.config import FeatureConfig

FEATURES = FeatureConfig.model_validate({"video": {"top_k": 32}, "audio": {"image_size_px": 64}})
NAMES = ["t0.mp4", "mute.mp4", "gone.mp4", "t1.mp4", "blind.mp4", "broken.mp4"]


def split_of(root: Path, features: FeatureConfig = FEATURES) -> Split:
    return open_split("trainset", root, LabelNames(), VideoDirs(), features)


@pytest.fixture(scope="module")
def mixed(pristine_root: Path, media, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an extracted split with complete clips, one without audio, one without video, one damaged, one missing."""
    root = tmp_path_factory.mktemp("mixed")
    shutil.copytree(pristine_root / "trainset", root / "trainset")
    media.clip(root / "trainset" / "mute.mp4", waveform=None)
    media.clip(root / "trainset" / "blind.mp4", frames=None)
    (root / "trainset" / "broken.mp4").write_bytes(b"no clip")
    lines = ["video_name,target,type", *(f"{name},{index % 2},kind" for index, name in enumerate(NAMES))]
    (root / "trainset_label.txt").write_text("\n".join(lines))
    extract_split(split_of(root), ExtractionConfig(workers=1), quiet=True)
    return root


def dataset_of(root: Path, source: str = "features", **options) -> ClipDataset:
    clips = open_clips(split_of(root), DataConfig(source=source), ExtractionConfig(), need_targets=True)
    return ClipDataset(clips, InputLayout(FEATURES, ("mel", "covariance")), **options)


def test_stored_and_decoded_features_and_facts_are_equal(mixed: Path) -> None:
    stored, decoded = dataset_of(mixed), dataset_of(mixed, "video")
    assert len(stored) == len(decoded) == len(NAMES)
    for index in range(len(NAMES)):
        (first, first_facts), (second, second_facts) = stored[index], decoded[index]
        for name in ("mel", "covariance"):
            np.testing.assert_array_equal(first.inputs[name].values, second.inputs[name].values)
            assert first.inputs[name].mask == second.inputs[name].mask
        assert first_facts == second_facts


def loader_of(dataset: ClipDataset, batch_size: int, workers: int = 0) -> DataLoader:
    return make_loader(dataset, BatchShare(range(len(dataset)), batch_size), workers=workers, pin_memory=False)


def test_every_row_is_present_with_its_reason(mixed: Path) -> None:
    loader = loader_of(dataset_of(mixed), 4)
    batches = list(loader)

    def mask_of(name: str) -> list[bool]:
        return torch.cat([batch.inputs[name].mask for batch, _ in batches]).tolist()

    facts = [fact for _, facts in batches for fact in facts]
    assert [fact.reason for fact in facts] == ["", "no_audio", "missing_file", "", "no_video", "unreadable"]
    assert torch.cat([batch.index for batch, _ in batches]).tolist() == list(range(6))
    assert mask_of("mel") == [True, False, False, True, True, False]
    assert mask_of("covariance") == [True, True, False, True, False, False]
    assert torch.cat([batch.target for batch, _ in batches]).tolist() == [0, 1, 0, 1, 0, 1]


def test_rows_without_features_are_not_extracted(mixed: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(mixed, tmp_path / "copy"))
    with open(root / "trainset_label.txt", "a") as stream:
        stream.write("\nlater.mp4,1,kind\n")
    (root / "trainset_raw" / "video_feature" / "t0.mp4.npy").unlink()
    dataset = dataset_of(root)
    assert dataset[6][1].reason == dataset[0][1].reason == "not_extracted"


def test_features_of_another_config_or_none_are_rejected(mixed: Path, tmp_path: Path) -> None:
    other = split_of(mixed, FeatureConfig.model_validate({"video": {"top_k": 16}}))
    with pytest.raises(UsageError, match=r"video\.top_k: 32 stored, 16 requested"):
        open_clips(other, DataConfig(), ExtractionConfig(), need_targets=True)
    shutil.copy(mixed / "trainset_label.txt", tmp_path)
    with pytest.raises(UsageError, match=r"run `python utils/extract_ffdv\.py` first"):
        open_clips(split_of(tmp_path), DataConfig(), ExtractionConfig(), need_targets=True)


def test_loader_workers_do_not_change_the_samples(mixed: Path) -> None:
    def epoch(workers: int) -> list[torch.Tensor]:
        dataset = dataset_of(mixed, augment=Augment(AugmentConfig(mel_flip=0.5, covariance_noise=1.0)), seed=3)
        dataset.set_epoch(2)
        return [
            tensor
            for batch, _ in loader_of(dataset, 2, workers)
            for tensor in (batch.inputs["mel"].values, batch.inputs["covariance"].values)
        ]

    for first, second in zip(epoch(0), epoch(2), strict=True):
        assert torch.equal(first, second)


def test_augmentation_differs_between_epochs_and_repeats_within_one(mixed: Path) -> None:
    dataset = dataset_of(mixed, augment=Augment(AugmentConfig(covariance_noise=1.0)), seed=1)

    def covariance() -> np.ndarray:
        return dataset[0][0].inputs["covariance"].values

    first, again = covariance(), covariance()
    dataset.set_epoch(1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, covariance())


def test_samples_are_batched_in_order(mixed: Path) -> None:
    dataset = dataset_of(mixed)
    loader = loader_of(dataset, 4)
    groups = list(loader)
    assert [batch.index.tolist() for batch, _ in groups] == [[0, 1, 2, 3], [4, 5]]
    assert [fact.reason for _, facts in groups for fact in facts][2] == "missing_file"


def test_items_are_grouped_in_order() -> None:
    assert list(grouped(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
    assert list(grouped([], 4)) == []
