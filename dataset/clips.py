"""The clips of a split as a torch data set, with features that are stored or computed on the fly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dataset.augment import Augment
from dataset.batch import Batch, collate
from dataset.config import DataConfig, ExtractionConfig
from dataset.labels import read_labels
from dataset.manifest import read_rows
from dataset.packed.augment import BatchAugment
from dataset.packed.index import FOLDER, INDEX_NAME
from dataset.packed.loader import PackedBatches, PackedLoader
from dataset.packed.read import PackedFeatures
from dataset.packed.write import pack_split
from dataset.samples import InputLayout, Sample, make_sample, make_samples
from dataset.splits import Split
from utils.errors import UsageError
from utils.features.clip import ClipFacts, ClipFeatures, failed
from utils.features.extract import ExtractionOptions, extract_clip, require_parts

log = logging.getLogger(__name__)

Collector = Callable[[list[int]], tuple[Batch, list[ClipFacts]]]
"""Function that returns the batch of some rows of a label table, and the facts of its clips."""


class FeatureSource(Protocol):
    """Reader that returns a clip's features by name and never raises for an unusable clip."""

    def __call__(self, name: str, features: Collection[str] | None = None) -> ClipFeatures:
        """Return the given features of the clip `name`; `None` for all features enabled in the config."""


class CachedFeatures:
    """Features stored by the extractor."""

    def __init__(self, split: Split) -> None:
        """Read the split's manifest.

        Raises:
            UsageError: the split has no features, or features of another config (only a larger K or more features are
                accepted); or see `require_parts`.
        """
        if not split.store.root.is_dir():
            raise UsageError(
                f"{split.store.root} does not exist; run `python utils/extract_ffdv.py` first, or set data.source=video"
            )
        require_parts(split.store.config)
        split.store.open()
        self._store = split.store
        self._rows = read_rows(split.store.root)

    def longer_than(self, seconds: float, names: Collection[str]) -> int:
        """Return the number of these clips that are longer than `seconds`."""
        rows = self._rows.of(list(names))
        return int((rows.table["duration_s"] > seconds).sum())

    def __call__(self, name: str, features: Collection[str] | None = None) -> ClipFeatures:
        """Return the stored features; the reason is `not_extracted` if the clip has no row or a pending one."""
        row = self._rows.get(name)
        if row is None or row.facts.status == "pending":
            return failed("not_extracted")
        return self._store.load(name, row.facts, features)


class VideoFeatures:
    """Features computed from the clip on each request."""

    def __init__(self, split: Split, max_frames: int | None) -> None:
        """Use the clips of a split.

        Raises:
            UsageError: see `require_parts`.
        """
        require_parts(split.store.config)
        self._split = split
        self._options = ExtractionOptions(max_frames)

    def __call__(self, name: str, features: Collection[str] | None = None) -> ClipFeatures:
        """Return the features that the extractor would store, including the JPG round trip."""
        return self._extracted(name, features, self._options)

    def for_scoring(self, name: str, features: Collection[str]) -> ClipFeatures:
        """Return the features for scoring: a long clip is divided into windows, as in `engine.Detector`."""
        return self._extracted(name, features, replace(self._options, windows=True))

    def _extracted(self, name: str, features: Collection[str] | None, options: ExtractionOptions) -> ClipFeatures:
        path = self._split.video_path(name)
        return extract_clip(path, self._split.store.config, features=features, options=options)


@dataclass
class ClipTable:
    """A split's label table with the source of its features.

    Attributes:
        split: the split.
        labels: `video_name`, `target` (NaN if unknown) and further columns, one row per clip.
        source: returns a clip's features.
    """

    split: Split
    labels: pd.DataFrame
    source: FeatureSource

    @property
    def names(self) -> list[str]:
        """Clip names in the order of the label file."""
        return self.labels["video_name"].tolist()


def open_clips(split: Split, data: DataConfig, extraction: ExtractionConfig, *, need_targets: bool) -> ClipTable:
    """Read a split's labels and open its features.

    Raises:
        UsageError: see `read_labels`, `CachedFeatures` and `PackedFeatures`.
    """
    labels = read_labels(split.labels, need_targets=need_targets)
    return ClipTable(split, labels, open_source(split, labels, data, extraction))


def open_source(split: Split, labels: pd.DataFrame, data: DataConfig, extraction: ExtractionConfig) -> FeatureSource:
    """Open the features of a split. A split that was never packed is packed first if packed features are requested."""
    if data.source == "video":
        return VideoFeatures(split, extraction.max_frames)
    if data.source == "features":
        return CachedFeatures(split)
    if not (split.store.root / FOLDER / INDEX_NAME).is_file():
        log.info("%s", pack_split(split, workers=data.workers).sentence(split.name))
    return PackedFeatures(split, labels["video_name"].tolist())


class ClipDataset(Dataset):
    """A split's clips as samples, each with the facts of its extraction."""

    def __init__(self, clips: ClipTable, layout: InputLayout, *, augment: Augment | None = None, seed: int = 0) -> None:
        """Wrap a table.

        Args:
            clips: the clips.
            layout: the inputs to load, usually those of the model.
            augment: augmentation of training samples, different in each epoch and repeatable for a seed.
            seed: seed of the augmentation.
        """
        self._names = clips.names
        self._targets = clips.labels["target"].to_numpy(np.float32)
        self._source = clips.source
        self._layout = layout
        self._augment = augment
        self._seed = seed
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that seeds the augmentation, also for loader processes that are already running."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Return the number of clips, usable or not."""
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[Sample, ClipFacts]:
        """Return the clip's sample and facts. A failed clip gives a sample whose masks are all false."""
        features = self._source(self._names[index], self._layout.features)
        sample = make_sample(index, float(self._targets[index]), features, self._layout)
        if self._augment is not None:
            # The seed depends on clip and epoch, not on the worker, so the number of loader processes does not matter.
            rng = np.random.default_rng((self._seed, int(self._epoch), index))
            sample = self._augment(sample, rng)
        return sample, features.facts

    def packed_collector(self, *, pin_memory: bool) -> Collector | None:
        """Return a function that gathers a batch of packed clips; `None` if the clips are not packed."""
        if not isinstance(self._source, PackedFeatures):
            return None
        batches = PackedBatches(self._source, self._targets, self._layout, pin_memory=pin_memory)
        augment = self._augment

        def collect(rows: list[int]) -> tuple[Batch, list[ClipFacts]]:
            change = None if augment is None else BatchAugment(augment.config, self._seed, int(self._epoch))
            return batches.collect(rows, change)

        return collect


class ScoringDataset(Dataset):
    """A split's clips for scoring. An item is the list of a clip's samples, see `make_samples`."""

    def __init__(self, clips: ClipTable, layout: InputLayout) -> None:
        """Wrap a table; `layout` has the inputs of the model."""
        source = clips.source
        self._read = source.for_scoring if isinstance(source, VideoFeatures) else source
        self._names = clips.names
        self._targets = clips.labels["target"].to_numpy(np.float32)
        self._layout = layout

    def __len__(self) -> int:
        """Return the number of clips, usable or not."""
        return len(self._targets)

    def __getitem__(self, index: int) -> list[tuple[Sample, ClipFacts]]:
        """Return the clip's samples, each with its facts."""
        clip = self._read(self._names[index], self._layout.features)
        return make_samples(index, float(self._targets[index]), clip, self._layout)

    def packed_collector(self, *, pin_memory: bool) -> Collector | None:
        """Return a function that gathers a batch of packed clips; `None` if the clips are not packed."""
        if not isinstance(self._read, PackedFeatures):
            return None
        return PackedBatches(self._read, self._targets, self._layout, pin_memory=pin_memory).collect

    @staticmethod
    def collate(items: list[list[tuple[Sample, ClipFacts]]]) -> tuple[Batch, list[ClipFacts]]:
        """Stack the samples of several clips into a batch and list their facts."""
        return collate_with_facts([sample for clip in items for sample in clip])


def collate_with_facts(items: list[tuple[Sample, ClipFacts]]) -> tuple[Batch, list[ClipFacts]]:
    """Stack samples into a batch and list their facts."""
    return collate([sample for sample, _ in items]), [facts for _, facts in items]


def make_loader(
    dataset: ClipDataset | ScoringDataset, batches: Sampler[list[int]], *, workers: int, pin_memory: bool
) -> DataLoader | PackedLoader:
    """Return a loader of (batch, facts) pairs, one for each list of rows in `batches`.

    The workers are processes, or threads for packed clips.
    """
    collect = dataset.packed_collector(pin_memory=pin_memory)
    if collect is not None:
        return PackedLoader(collect, batches, threads=workers)
    workers = min(workers, len(dataset))
    if workers:
        # OpenCV's threads do not survive a fork, so the loader processes would wait for them forever.
        cv2.setNumThreads(1)
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=dataset.collate if isinstance(dataset, ScoringDataset) else collate_with_facts,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        # The loader draws a seed whenever it starts. Drawing it from torch's global generator would change the model's random
        # numbers, and a run would depend on the number of workers and on where it was resumed.
        generator=torch.Generator(),
        worker_init_fn=use_one_core if workers else None,
    )


def use_one_core(_: int) -> None:
    """Limit a loader process to one core."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
