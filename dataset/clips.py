"""The clips of a split as a torch data set, whether their features lie on disk or are made on the fly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dataset.augment import Augment
from dataset.batch import Batch, Sample, collate, make_sample
from dataset.config import DataConfig, ExtractionConfig
from dataset.labels import read_labels
from dataset.manifest import Row, read_rows
from dataset.splits import Split
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.features.extract import ClipFacts, ClipFeatures, extract_clip, failed, require_parts


class FeatureSource(Protocol):
    """Gives a clip's features by name; never raises for a clip that cannot be used."""

    def __call__(self, name: str) -> ClipFeatures:
        """The features of the clip `name`."""


class CachedFeatures:
    """Features that the extractor wrote."""

    def __init__(self, split: Split) -> None:
        """Read the split's manifest.

        Raises:
            UsageError: when the split has no features, or ones made differently (a larger K alone is no difference); or
                see `require_parts`.
        """
        if not split.store.root.is_dir():
            raise UsageError(
                f"{split.store.root} does not exist; run `python utils/extract_ffdv.py` first, or set data.source=video"
            )
        require_parts(split.store.config)
        split.store.open()
        self._store = split.store
        self._rows: dict[str, Row] = read_rows(split.store.root)

    def __call__(self, name: str) -> ClipFeatures:
        """The stored features; `not_extracted` for a clip without a row or still pending."""
        row = self._rows.get(name)
        if row is None or row.facts.status == "pending":
            return failed("not_extracted")
        return self._store.load(name, row.facts)


class VideoFeatures:
    """Features made from the clip each time they are asked for."""

    def __init__(self, split: Split, max_frames: int | None) -> None:
        """Remember where the clips lie.

        Raises:
            UsageError: see `require_parts`.
        """
        require_parts(split.store.config)
        self._split = split
        self._max_frames = max_frames

    def __call__(self, name: str) -> ClipFeatures:
        """The same features as the extractor would have stored, JPG round trip included."""
        return extract_clip(self._split.video_path(name), self._split.store.config, max_frames=self._max_frames)


@dataclass
class ClipTable:
    """A split's label table with where its features come from.

    Attributes:
        split: the split.
        labels: `video_name`, `target` (NaN unknown) and further columns, one row per clip.
        source: gives a clip's features.
    """

    split: Split
    labels: pd.DataFrame
    source: FeatureSource

    @property
    def names(self) -> list[str]:
        """Clip names in the label file's order."""
        return self.labels["video_name"].tolist()


def open_clips(split: Split, data: DataConfig, extraction: ExtractionConfig, *, need_targets: bool) -> ClipTable:
    """Read a split's labels and open its features.

    Raises:
        UsageError: see `read_labels` and `CachedFeatures`.
    """
    labels = read_labels(split.labels, need_targets=need_targets)
    source = CachedFeatures(split) if data.source == "features" else VideoFeatures(split, extraction.max_frames)
    return ClipTable(split, labels, source)


class ClipDataset(Dataset):
    """A split's clips as samples; `facts_of` tells afterwards what each clip's extraction said."""

    def __init__(
        self, clips: ClipTable, features: FeatureConfig, *, augment: Augment | None = None, seed: int = 0
    ) -> None:
        """Wrap a table; with `augment` each epoch sees other random changes, repeatable for a seed."""
        self._names = clips.names
        self._targets = clips.labels["target"].to_numpy(np.float32)
        self._source = clips.source
        self._features = features
        self._augment = augment
        self._seed = seed
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's random changes; seen by loader processes that are already running."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Number of clips, usable or not."""
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[Sample, ClipFacts]:
        """The clip's sample and facts. A failed clip is a sample with both masks false: it keeps its row."""
        features = self._source(self._names[index])
        sample = make_sample(
            index,
            float(self._targets[index]),
            features,
            top_k=self._features.video.top_k,
            image_size_px=self._features.audio.image_size_px,
            face=self._features.face,
            speech_encoder=self._features.speech_encoder,
        )
        if self._augment is not None:
            # Seeded by clip and epoch, not by worker: the number of loader processes does not change the run.
            rng = np.random.default_rng((self._seed, int(self._epoch), index))
            sample = self._augment(sample, rng)
        return sample, features.facts


def collate_with_facts(items: list[tuple[Sample, ClipFacts]]) -> tuple[Batch, list[ClipFacts]]:
    """Stack samples into a batch and list their facts beside it."""
    return collate([sample for sample, _ in items]), [facts for _, facts in items]


class EpochSampler(Sampler[int]):
    """A random order of the training clips that depends on the seed and the epoch alone."""

    def __init__(self, targets: np.ndarray, *, balance: bool, seed: int) -> None:
        """With `balance`, clips are drawn with replacement so that both classes come equally often."""
        self._targets = targets
        self._balance = balance
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Rows of the label table."""
        rng = np.random.default_rng((self._seed, self._epoch))
        n = len(self._targets)
        if self._balance:
            chance = np.where(self._targets == 1, 0.5 / (self._targets == 1).sum(), 0.5 / (self._targets == 0).sum())
            return iter(rng.choice(n, size=n, p=chance).tolist())
        return iter(rng.permutation(n).tolist())

    def __len__(self) -> int:
        """Clips per epoch."""
        return len(self._targets)


def make_loader(
    dataset: ClipDataset,
    *,
    batch_size: int,
    workers: int,
    pin_memory: bool,
    sampler: Sampler[int] | None = None,
) -> DataLoader:
    """A loader of (batch, facts) pairs, in order unless a sampler says otherwise."""
    workers = min(workers, len(dataset))
    if workers:
        # OpenCV's threads do not survive a fork, and the loader's processes would wait for them for ever: end them here.
        cv2.setNumThreads(1)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate_with_facts,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        # The loader draws a seed whenever it starts: from torch's own generator, that would shift what the model draws, and
        # a run would depend on the number of workers and on where it was resumed.
        generator=torch.Generator(),
        worker_init_fn=use_one_core if workers else None,
    )


def use_one_core(_: int) -> None:
    """Loader processes are many; each keeps to one core."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def batches_of(items: Iterable[tuple[Sample, ClipFacts]], batch_size: int) -> Iterator[tuple[Batch, list[ClipFacts]]]:
    """Group a stream of samples into batches; the last one may be smaller."""
    waiting: list[tuple[Sample, ClipFacts]] = []
    for item in items:
        waiting.append(item)
        if len(waiting) == batch_size:
            yield collate_with_facts(waiting)
            waiting = []
    if waiting:
        yield collate_with_facts(waiting)
