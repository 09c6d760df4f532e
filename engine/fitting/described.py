"""The labelled clips as the experts see them: described once for all fitters that need no more than their features."""

from __future__ import annotations

from dataset.clip_bank import ClipTask, KeptClip, describe_clips
from dataset.workers import worker_count
from engine.config import RunConfig
from engine.fitting.base import LabelledClips


def describe_labelled(clips: LabelledClips, config: RunConfig) -> list[KeptClip | None]:
    """The descriptions of the labelled clips in order, kept below `config.fit.cache`; `None` for one that cannot be read."""
    tasks = [
        ClipTask(
            name,
            clips.table.split.video_path(name),
            config.features,
            config.extraction.max_frames,
            config.fit.cache_dir / "clips",
        )
        for name in clips.table.names
    ]
    workers = worker_count(config.extraction.workers, len(tasks))
    return describe_clips(tasks, workers=workers, timeout_s=config.extraction.timeout_s)
