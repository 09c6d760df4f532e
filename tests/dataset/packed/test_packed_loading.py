"""Scores, batches and augmentation of packed clips, compared with those of the feature files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dataset.batch import Batch, Modality
from dataset.clips import ClipDataset, ClipTable, ScoringDataset, make_loader, open_clips
from dataset.config import AugmentConfig, DataConfig, ExtractionConfig, LabelNames, VideoDirs
from dataset.extraction import extract_split
from dataset.packed.augment import BatchAugment, standard_normal
from dataset.packed.write import pack_split, packed_inputs
from dataset.samples import InputLayout
from dataset.sampling import BatchShare
from dataset.splits import Split, open_split
from engine.evaluate import predict_split
from engine.run import open_required, run_training
from models import build_model
from tests.support import (
    FEATURE_CONFIG,
    FEATURES,
    NO_AUDIO,
    MadeClip,
    made_clips,
    tiny_config,
    tiny_model,
    write_head,
    write_root,
    write_split,
    write_video,
)
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.metrics.calibration import Calibration

SCORE_TOLERANCE = 1e-4
ALL_FEATURES = FeatureConfig.model_validate({**FEATURES, "voice": True, "face": True})


def table_of(split: Split, source: str) -> ClipTable:
    return open_clips(split, DataConfig(source=source, workers=0), ExtractionConfig(), need_targets=True)


@pytest.mark.parametrize("name", ["ffdv_cov", "mel_baseline"])
def test_scores_of_both_published_systems_are_those_of_the_files(tmp_path: Path, name: str) -> None:
    write_split(tmp_path, "valset", [*made_clips(9), MadeClip("mute.mp4", 1, NO_AUDIO)])
    scores = {}
    for source in ("features", "packed"):
        config = tiny_config(
            tmp_path, model=tiny_model(name), data={"source": source, "workers": 2 * (source == "packed")}
        )
        torch.manual_seed(0)
        model = build_model(config.model, config.features)
        clips = open_required(config, "valset", config.features, need_targets=True)
        device = torch.device("cpu")
        scores[source] = predict_split(model, clips, config.features, config, device=device, calibration=Calibration())
    files, packed = scores["features"], scores["packed"]
    assert np.abs(files["score"] - packed["score"]).max() < SCORE_TOLERANCE
    assert files["score"].nunique() > 5
    pd.testing.assert_frame_equal(files[["video_name", "status", "reason"]], packed[["video_name", "status", "reason"]])


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Return a split of three clips with voice, face, mouth, motion and speech arrays of different lengths."""
    root = tmp_path_factory.mktemp("described")
    write_head(root / "trainset" / "head.mp4", 0)
    write_head(root / "trainset" / "mute.mp4", 1, frames=30, audio=False)
    write_video(root / "trainset" / "square.mp4", 0)
    (root / "trainset_label.txt").write_text("video_name,target\nhead.mp4,0\nmute.mp4,1\nsquare.mp4,0\n")
    split = open_split("trainset", root, LabelNames(), VideoDirs(), ALL_FEATURES)
    extract_split(split, ExtractionConfig(workers=1), quiet=True)
    return split


def test_batches_of_all_arrays_are_those_of_the_files(described: Split) -> None:
    inputs = packed_inputs(described)
    assert {"voice", "face", "mouth", "motion", "speech"} <= set(inputs)
    layout = InputLayout(ALL_FEATURES, inputs)
    batches = {}
    for source in ("features", "packed"):
        dataset = ScoringDataset(table_of(described, source), layout)
        loader = make_loader(dataset, BatchShare([2, 0, 1], 3), workers=0, pin_memory=False)
        batches[source] = next(iter(loader))
    (files, facts), (packed, packed_facts) = batches["features"], batches["packed"]
    assert facts == packed_facts
    packed = packed.to(torch.device("cpu"))
    assert torch.equal(packed.index, files.index)
    assert torch.equal(packed.target, files.target)
    for name in inputs:
        assert torch.equal(packed.inputs[name].mask, files.inputs[name].mask), name
        tolerance = 0.51 / 65535 if name == "covariance" else 0
        torch.testing.assert_close(packed.inputs[name].values, files.inputs[name].values, atol=tolerance, rtol=0)


def test_training_packs_the_splits_on_its_first_run(tmp_path: Path) -> None:
    root = write_root(tmp_path)
    folder = run_training(tiny_config(root, data={"source": "packed", "workers": 1}))
    assert (root / "trainset_raw" / "packed" / "index.json").is_file()
    assert len(pd.read_csv(folder.path / "predictions.csv")) == 8


def test_single_clips_of_a_pack_cannot_be_read(tmp_path: Path) -> None:
    write_split(tmp_path, "trainset", made_clips(2))
    split = open_split("trainset", tmp_path, LabelNames(), VideoDirs(), FEATURE_CONFIG)
    with pytest.raises(UsageError, match="set data.source=features"):
        table_of(split, "packed").source("clip000.mp4")


def random_batch(index: list[int], present: list[bool]) -> Batch:
    generator = torch.Generator().manual_seed(0)
    n, mask = len(index), torch.tensor(present)
    mel = torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=generator)
    covariance = torch.rand((n, 6, 6), generator=generator)
    inputs = {"mel": Modality(mel, mask), "covariance": Modality(covariance, mask)}
    return Batch(torch.tensor(index), torch.zeros(n), inputs)


def test_augmentation_depends_on_seed_epoch_and_clip_but_not_on_the_batch() -> None:
    config = AugmentConfig(mel_flip=0.5, covariance_noise=0.8, noise_gain=0.1)
    whole = random_batch(list(range(40)), [True] * 40)
    augmented = BatchAugment(config, 1, 3)(whole)
    chosen = torch.tensor([7, 31, 2])
    part = BatchAugment(config, 1, 3)(whole.select(chosen))
    for name in whole.inputs:
        torch.testing.assert_close(part.inputs[name].values, augmented.inputs[name].values[chosen], atol=1e-6, rtol=0)
    for other in (BatchAugment(config, 2, 3), BatchAugment(config, 1, 4)):
        assert not torch.equal(other(whole).inputs["mel"].values, augmented.inputs["mel"].values)


def test_augmentation_flips_and_adds_noise_as_often_as_configured() -> None:
    n = 2000
    batch = random_batch(list(range(n)), [True] * (n - 1) + [False])
    mel, covariance = batch.inputs["mel"].values, batch.inputs["covariance"].values
    augmented = BatchAugment(AugmentConfig(), 0, 1)(batch)
    new_mel, new_covariance = augmented.inputs["mel"].values, augmented.inputs["covariance"].values
    shares = [
        (new_mel == mel.flip(axes)).flatten(1).all(dim=1).double().mean().item() for axes in ([], [3], [2], [2, 3])
    ]
    assert shares == pytest.approx([0.75**2, 0.25 * 0.75, 0.25 * 0.75, 0.25**2], abs=0.04)
    noisy = (new_covariance != covariance).flatten(1).any(dim=1)
    assert noisy.double().mean().item() == pytest.approx(0.5, abs=0.04)
    assert not noisy[-1]
    torch.testing.assert_close(new_covariance[noisy], new_covariance[noisy].transpose(1, 2))
    # The expectation of (gR)(gR)' is g^2 K on the diagonal.
    symmetric = (covariance + covariance.transpose(1, 2)) / 2
    added = (new_covariance - symmetric)[noisy].diagonal(dim1=1, dim2=2).mean().item()
    assert added == pytest.approx(0.01**2 * 6, rel=0.05)


def test_the_noise_is_standard_normal_and_independent_between_clips() -> None:
    keys = torch.randint(-(2**31), 2**31, (300, 2), generator=torch.Generator().manual_seed(0)).int()
    numbers = standard_normal(keys, 1001).double()
    assert numbers.mean().item() == pytest.approx(0, abs=0.01)
    assert numbers.std().item() == pytest.approx(1, abs=0.01)
    assert (numbers**4).mean().item() == pytest.approx(3, abs=0.1)
    correlation = torch.corrcoef(numbers) - torch.eye(300)
    assert correlation.abs().max().item() < 0.2
    assert torch.corrcoef(torch.stack([numbers[:, :-1].ravel(), numbers[:, 1:].ravel()]))[0, 1].abs().item() < 0.01


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_threads_keep_the_order_of_the_batches(tmp_path: Path, workers: int) -> None:
    write_split(tmp_path, "trainset", made_clips(7))
    split = open_split("trainset", tmp_path, LabelNames(), VideoDirs(), FEATURE_CONFIG)
    dataset = ClipDataset(table_of(split, "packed"), InputLayout(FEATURE_CONFIG, ("mel", "covariance")))
    loader = make_loader(dataset, BatchShare(range(7), 2), workers=workers, pin_memory=False)
    assert [batch.index.tolist() for batch, _ in loader] == [[0, 1], [2, 3], [4, 5], [6]]
    assert len(loader) == 4


def test_workers_pack_the_same_files(tmp_path: Path) -> None:
    contents = []
    for workers in (0, 2):
        write_split(tmp_path / str(workers), "trainset", made_clips(4))
        split = open_split("trainset", tmp_path / str(workers), LabelNames(), VideoDirs(), FEATURE_CONFIG)
        pack_split(split, workers=workers, quiet=True)
        contents.append([path.read_bytes() for path in sorted(split.store.root.glob("packed/covariance*"))[:1]])
    assert contents[0] == contents[1]
