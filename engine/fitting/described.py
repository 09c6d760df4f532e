"""The labelled clips as the experts see them: described once for all fitters that need no more than their features."""

from __future__ import annotations

from dataset.clip_bank import ClipTask, KeptClip, describe_clips
from dataset.workers import default_workers
from engine.config import RunConfig
from engine.fitting.base import FitOptions, LabelledClips


def describe_labelled(clips: LabelledClips, config: RunConfig, options: FitOptions) -> list[KeptClip | None]:
    """The descriptions of the labelled clips in order, kept below `options.cache`; `None` for one that cannot be read."""
    tasks = [
        ClipTask(
            name,
            clips.table.split.video_path(name),
            config.features,
            config.extraction.max_frames,
            options.cache / "clips",
        )
        for name in clips.table.names
    ]
    workers = min(config.extraction.workers or default_workers(), len(tasks))
    return describe_clips(tasks, workers=workers, timeout_s=config.extraction.timeout_s)
