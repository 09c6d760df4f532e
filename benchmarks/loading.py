"""Measure the time to load a training sample from stored features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from benchmarks import reference_implementation
from benchmarks.clips import link_split
from benchmarks.measure import compare, cost_rows, one_core
from benchmarks.setting import Row, Setting
from dataset.clips import ClipDataset, open_clips
from dataset.config import DataConfig, ExtractionConfig
from dataset.extraction import extract_split
from dataset.samples import InputLayout

PUBLISHED_TRANSFORM = transforms.Compose(
    [
        transforms.Resize((256, 256)),
        transforms.RandomHorizontalFlip(),
        transforms.RandomVerticalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def load_as_published(matrix: Path, image: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Load a sample as the published loader does: the image as three normalised channels, the matrix from float64."""
    pixels = PUBLISHED_TRANSFORM(Image.open(image).convert("RGB"))
    return pixels, torch.from_numpy(np.load(matrix)).float()


def run(setting: Setting) -> list[Row]:
    """Time the loading of one sample in this process. The floor only reads the bytes of its two files."""
    folder = setting.scratch / "loading"
    split = link_split(folder, setting.clips, len(setting.clips))
    extract_split(split, ExtractionConfig(workers=1), quiet=True)
    clips = open_clips(split, DataConfig(), ExtractionConfig(), need_targets=True)
    dataset = ClipDataset(clips, InputLayout(split.store.config, ("covariance", "mel")))
    stored = [[split.store.path(feature, name) for feature in ("covariance", "mel")] for name in clips.names]
    published = [reference_implementation.extract(clip, folder) for clip in setting.clips]
    tasks = {
        "reading the two files": lambda index: [path.read_bytes() for path in stored[index]],
        "a sample": dataset.__getitem__,
        "a sample, published steps": lambda index: load_as_published(*published[index]),
    }
    with one_core():
        costs = compare(tasks, range(len(setting.clips)), 10 * setting.repetitions)
    return cost_rows("loading", costs, "ms/clip", floor="reading the two files", reference="a sample, published steps")
