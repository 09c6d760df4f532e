"""Extraction of one clip in a worker process: decode, compute features, and move complete files into place."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from dataset.manifest import Row, append_to_journal
from utils.features.clip import ClipFeatures, failed
from utils.features.config import FeatureConfig
from utils.features.extract import ExtractionOptions, extract_clip
from utils.features.store import FeatureStore
from utils.files import atomic_path
from utils.media.arrays import ClipArrays

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExtractionTask:
    """Task of extracting one clip.

    Attributes:
        name: name of the clip in the label file.
        video_path: the clip.
        outputs: final paths by feature name.
        scratch: folder for unfinished files, on the same file system as the outputs.
        journal: file that receives the clip's row.
        store: the feature store.
        max_frames: number of frames after which decoding stops; `None` for all.
    """

    name: str
    video_path: Path
    outputs: dict[str, Path]
    scratch: Path
    journal: Path
    store: FeatureStore
    max_frames: int | None


@dataclass(frozen=True)
class ScoringTask:
    """Task of computing one clip's features in memory.

    Attributes:
        clip: a file, or the arrays of a decoded clip.
        config: settings of the features.
        features: names of the features.
        max_frames: number of frames after which decoding stops; `None` for all.
        windows: see `ExtractionOptions`.
        timeline: see `ExtractionOptions`.
        progress_path: see `ExtractionOptions`.
    """

    clip: Path | ClipArrays
    config: FeatureConfig
    features: Collection[str]
    max_frames: int | None = None
    windows: bool = False
    timeline: bool = False
    progress_path: Path | None = None


def extract_in_memory(task: ScoringTask) -> ClipFeatures:
    """Return the features of a clip without writing anything."""
    options = ExtractionOptions(
        task.max_frames, windows=task.windows, timeline=task.timeline, progress_path=task.progress_path
    )
    try:
        return extract_clip(task.clip, task.config, features=task.features, options=options)
    except MemoryError:
        return failed("crashed")


def extract_to_store(task: ExtractionTask) -> Row:
    """Extract a clip into the feature store.

    Files are first written to the scratch folder. Then old files are removed, the row is appended to the journal, and the new
    files are moved into place. After a kill at any point, a clip with a row and all files has the files that belong to the row.
    """
    started = time.perf_counter()
    # Workers on several machines may have the same process id.
    unique = secrets.token_hex(8)
    scratch = {name: task.scratch / f"{unique}.{name}{path.suffix}" for name, path in task.outputs.items()}
    try:
        features = extract_clip(
            task.video_path,
            task.store.config,
            features=task.store.extracted_features(),
            options=ExtractionOptions(task.max_frames, scratch, task.store.root),
        )
        written = write_features(features, task.store, scratch)
        row = Row(features.facts, time.perf_counter() - started)
        for path in task.outputs.values():
            path.unlink(missing_ok=True)
        append_to_journal(task.journal, task.name, row)
        for name in written:
            move_into_place(scratch[name], task.outputs[name])
        return row
    except (OSError, MemoryError) as error:
        reason = "crashed" if isinstance(error, MemoryError) else "write_failed"
        log.warning("%s: %s", task.name, error)
        return Row(failed(reason).facts, time.perf_counter() - started)
    finally:
        for path in scratch.values():
            path.unlink(missing_ok=True)


def move_into_place(source: Path, target: Path) -> None:
    """Move `source` to `target` atomically, even if the folder of `target` is a link to another file system."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def write_features(features: ClipFeatures, store: FeatureStore, paths: dict[str, Path]) -> list[str]:
    """Write the available features of a clip to `paths`, by feature name.

    Returns:
        The names of the features written.
    """
    written = []
    if features.facts.status != "failed":
        for feature in store.stored_features():
            if feature.expected(features.facts):
                feature.write(paths[feature.name], features.values[feature.name])
                written.append(feature.name)
    return written


def crashed_row(reason: str, seconds: float) -> Row:
    """Return the row of a clip whose worker died or exceeded the time limit."""
    return replace(Row(failed(reason).facts), seconds=seconds)
