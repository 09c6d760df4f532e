"""What one extraction worker does with one clip: decode, make features, put whole files in place."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dataset.manifest import Row, append_to_journal
from utils.features.config import FeatureConfig
from utils.features.extract import ClipFeatures, extract_clip, failed
from utils.features.face.features import write_face
from utils.files import atomic_path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExtractionTask:
    """One clip to extract.

    Attributes:
        name: the clip's name in the label file.
        video_path: where it lies.
        outputs: final paths by kind (`picture`, `covariance`, `wave`, and `face` where the config asks for it).
        scratch: folder for unfinished files, on the same file system as the outputs.
        journal: file that gets the clip's row.
        embeddings: where speech embeddings are kept, if anywhere.
    """

    name: str
    video_path: Path
    outputs: dict[str, Path]
    scratch: Path
    journal: Path
    config: FeatureConfig
    max_frames: int | None
    embeddings: Path | None = None


def extract_in_memory(task: tuple[Path, FeatureConfig, int | None]) -> ClipFeatures:
    """Features of (path, config, max_frames) without touching the disk."""
    path, config, max_frames = task
    try:
        return extract_clip(path, config, max_frames=max_frames)
    except MemoryError:
        return failed("crashed")


def extract_to_store(task: ExtractionTask) -> Row:
    """Extract a clip into the feature store.

    Unfinished files lie in the scratch folder. Old files go first, then the row is journalled, then the new files are moved
    into place: whenever a kill comes, a clip that has its row and all of its files has the files of that row.
    """
    started = time.perf_counter()
    scratch = {kind: task.scratch / f"{os.getpid()}{path.suffix}" for kind, path in task.outputs.items()}
    try:
        features = extract_clip(
            task.video_path,
            task.config,
            max_frames=task.max_frames,
            wav_path=scratch["wave"],
            embeddings=task.embeddings,
        )
        written = write_features(features, scratch)
        row = Row(features.facts, time.perf_counter() - started)
        for path in task.outputs.values():
            path.unlink(missing_ok=True)
        append_to_journal(task.journal, task.name, row)
        for kind in written:
            move_into_place(scratch[kind], task.outputs[kind])
        return row
    except (OSError, MemoryError) as error:
        reason = "crashed" if isinstance(error, MemoryError) else "write_failed"
        log.warning("%s: %s", task.name, error)
        return Row(failed(reason).facts, time.perf_counter() - started)
    finally:
        for path in scratch.values():
            path.unlink(missing_ok=True)


def move_into_place(source: Path, target: Path) -> None:
    """Give `target` the content of `source` at once, also where a link puts its folder on another file system."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def write_features(features: ClipFeatures, paths: dict[str, Path]) -> set[str]:
    """Write what a clip has to `paths` and return the kinds that are there; the waveform was written while decoding."""
    written = {"wave"} if features.facts.has_audio else set()
    if features.mel_jpeg is not None:
        paths["picture"].write_bytes(features.mel_jpeg)
        written.add("picture")
    if features.covariance is not None:
        np.save(paths["covariance"], features.covariance, allow_pickle=False)
        written.add("covariance")
    if "face" in paths and features.facts.n_frames:
        write_face(paths["face"], features.face)
        written.add("face")
    return written


def crashed_row(reason: str, seconds: float) -> Row:
    """The row of a clip whose worker died or ran out of time."""
    return replace(Row(failed(reason).facts), seconds=seconds)
