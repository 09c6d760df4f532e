"""The batches of an epoch: their order, augmentation and weights, and the share of this process."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import torch
from torch.utils.data import DataLoader

from dataset.augment import Augment
from dataset.clips import ClipDataset, ClipTable, make_loader
from dataset.packed.loader import PackedLoader
from dataset.samples import InputLayout
from dataset.sampling import BatchShare, EpochSampler, draw_chances
from engine.config import RunConfig
from engine.processes import current_processes
from engine.train_config import TrainConfig
from utils.errors import UsageError

SOURCE_COLUMN = "source"


def training_batches(
    clips: ClipTable, config: RunConfig, inputs: Collection[str], device: torch.device
) -> tuple[DataLoader | PackedLoader, Callable[[int], None]]:
    """Return a loader of augmented batches, and a function that sets the epoch that determines order and augmentation.

    Raises:
        UsageError: `train.balance_sources` is set and the label file has no column `source`; or there are fewer clips, in
            all or per batch, than processes.
    """
    processes = current_processes()
    require_clips_for(processes.size, clips, config.train.batch_size)
    layout = InputLayout(config.features, inputs)
    dataset = ClipDataset(clips, layout, augment=Augment(config.train.augment), seed=config.seed)
    order = EpochSampler(len(clips.names), seed=config.seed, chances=chances_of(clips, config.train))
    share = BatchShare(order, config.train.batch_size, rank=processes.rank, size=processes.size)
    loader = make_loader(dataset, share, workers=config.data.workers, pin_memory=device.type == "cuda")

    def begin_epoch(epoch: int) -> None:
        dataset.set_epoch(epoch)
        order.set_epoch(epoch)

    return loader, begin_epoch


def chances_of(clips: ClipTable, settings: TrainConfig) -> np.ndarray | None:
    """Return each clip's chance of being drawn; see `draw_chances`.

    Raises:
        UsageError: `train.balance_sources` is set and the label file has no column `source`.
    """
    if settings.balance_sources and SOURCE_COLUMN not in clips.labels:
        raise UsageError(f"train.balance_sources: {clips.split.labels} has no column {SOURCE_COLUMN}")
    return draw_chances(
        clips.labels["target"].to_numpy(),
        clips.labels[SOURCE_COLUMN].to_numpy(str) if settings.balance_sources else None,
        balance_classes=settings.balance_classes,
    )


def class_weights(clips: ClipTable, settings: TrainConfig) -> tuple[float, float] | None:
    """Return the loss weights of a real and of a fake clip; `None` if they are equal."""
    n_fake = int(clips.labels["target"].sum())
    return settings.class_weights.of_classes(len(clips.names) - n_fake, n_fake)


def require_clips_for(size: int, clips: ClipTable, batch_size: int) -> None:
    """Check that every process gets a clip of the first batch.

    Raises:
        UsageError: there are fewer clips than processes.
    """
    if batch_size < size:
        raise UsageError(f"train.batch_size={batch_size}: fewer clips per batch than the {size} processes of this run")
    if len(clips.names) < size:
        raise UsageError(
            f"{clips.split.name} has {len(clips.names)} clips, fewer than the {size} processes of this run"
        )
