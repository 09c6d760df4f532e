"""A labelled set of real clips and their pseudo-fakes, made in worker processes; an interrupted build can be continued."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.pseudo_fakes.copies import (
    CopyTask,
    OriginalTask,
    TrainingTask,
    WrittenCopies,
    store_autoencoders,
    store_original,
    write_copies,
)
from dataset.pseudo_fakes.face.autoencoder import STEPS, chosen_clips
from dataset.pseudo_fakes.set_folder import CLIPS, WORK, SetFolder, SetSettings
from dataset.workers import run_in_workers, worker_count
from utils.cache import compute_missing, content_key
from utils.errors import WorkError

log = logging.getLogger(__name__)

SET_VERSION = 1
"""Raise it when the same clips and settings would give another set: an unfinished one is then not continued."""

MOST_STEM_BYTES = 120
LONGEST_TASK_S = 7200.0
AUTOENCODER_STEPS = STEPS

NEEDS = {"audio": "a second of audio", "video": "a face", "both": "a second of audio and a face"}


def build_pseudo_fakes(paths: Sequence[Path], output: Path, settings: SetSettings, *, workers: int = 0) -> pd.DataFrame:
    """Write a set. Tracks that no type of the set forges are copied packet by packet.

    Finished copies stay when the build is interrupted, and a second call continues. The set does not depend on the number
    of workers.

    Args:
        paths: real clips. One that cannot be read, or lacks the part to forge, is left out; the log says why.
        output: folder for the set; it gets `trainset/`, `trainset_label.txt` and `pseudo_fakes.json`.
        settings: see `SetSettings`.
        workers: worker processes; 0 for one per core.

    Returns:
        The label table: `video_name,target,type,start_s,end_s,group`. A group is an original and its forgeries.

    Raises:
        UsageError: the folder holds another set.
        WorkError: fewer than two clips can be used, or the copies cannot be written.
    """
    contents = [content_key(path) for path in paths]
    record = settings_record(paths, contents, settings)
    folder = SetFolder.open(output, record, settings)
    if folder.usable is not None and len(folder.rows) == len(folder.usable):
        return folder.write_labels()
    (output / CLIPS).mkdir(parents=True, exist_ok=True)
    originals = [
        OriginalTask(path, content, settings.modality, output / WORK)
        for path, content in zip(paths, contents, strict=True)
    ]
    usable = read_originals(originals, folder.usable, settings, workers)
    autoencoders = trained_autoencoders([originals[index] for index in usable], settings)
    folder.start(record, usable)
    tasks = copy_tasks([originals[index] for index in usable], autoencoders, settings, output / CLIPS)
    write_missing([task for task in tasks if task.number not in folder.rows], folder, workers)
    table = folder.write_labels()
    shutil.rmtree(output / WORK, ignore_errors=True)
    return table


def settings_record(paths: Sequence[Path], contents: Sequence[str], settings: SetSettings) -> dict[str, Any]:
    """Return what a set is identified by, as JSON types: the settings, and a digest of the clips' names and contents."""
    clips = hashlib.sha256(json.dumps([[path.name for path in paths], list(contents)]).encode()).hexdigest()
    return {
        "version": SET_VERSION,
        "seed": settings.seed,
        "fakes_per_clip": settings.fakes_per_clip,
        "modality": settings.modality,
        "set of clips": clips,
    }


def runner(workers: int) -> Callable:
    """Return a runner for `compute_missing`."""

    def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Any:
        count = worker_count(workers, len(tasks))
        return run_in_workers(function, tasks, workers=count, timeout_s=LONGEST_TASK_S, ordered=False)

    return run


def read_originals(
    originals: list[OriginalTask], usable: list[int] | None, settings: SetSettings, workers: int
) -> list[int]:
    """Read the originals and return the indices of the usable ones.

    Args:
        originals: all of them.
        usable: the usable ones, as an earlier run found them; `None` in the first run.
        settings: of the set.
        workers: worker processes.

    Raises:
        WorkError: fewer than two are usable, or one that was usable before is not any more.
    """
    wanted = range(len(originals)) if usable is None else usable
    failures = compute_missing(
        [originals[index] for index in wanted], store_original, runner(workers), step="reading originals"
    )
    found = [index for index in wanted if originals[index].cache_path not in failures]
    if len(found) < 2:
        readable = f"{len(found)} of {len(originals)} clips have {NEEDS[settings.modality]}"
        raise WorkError(f"{readable}; at least two are needed to make pseudo-fakes")
    if usable is not None and found != usable:
        raise WorkError(f"{len(usable) - len(found)} clips of the unfinished set cannot be read any more")
    return found


def trained_autoencoders(originals: list[OriginalTask], settings: SetSettings) -> Path | None:
    """Train autoencoders on the originals' faces, in one worker; return their file, or `None` where no face is forged.

    Raises:
        WorkError: the training failed.
    """
    if settings.modality == "audio":
        return None
    chosen = tuple(original.cache_path for original in chosen_clips(originals))
    task = TrainingTask(chosen, settings.seed, AUTOENCODER_STEPS, originals[0].folder)
    for reason in compute_missing([task], store_autoencoders, runner(1), step="training autoencoders").values():
        raise WorkError(f"the autoencoders could not be trained: {reason}")
    return task.cache_path


def copy_tasks(
    originals: list[OriginalTask], autoencoders: Path | None, settings: SetSettings, folder: Path
) -> list[CopyTask]:
    """Return the task of each original. Swapped and spliced audio comes from the next one."""
    return [
        CopyTask(
            number=number,
            path=original.path,
            kinds=settings.kinds(number),
            group=f"{number:05d}_{shortened(original.path.stem)}",
            original=original.cache_path,
            other=originals[(number + 1) % len(originals)].cache_path,
            autoencoders=autoencoders,
            seed=settings.seed,
            folder=folder,
        )
        for number, original in enumerate(originals)
    ]


def write_missing(tasks: list[CopyTask], folder: SetFolder, workers: int) -> None:
    """Write the copies of clips and list them as they are finished.

    Raises:
        WorkError: the disk is full, or may not be written to.
    """
    with contextlib.closing(runner(workers)(write_copies, tasks)) as results:
        for number, (task, copies, crash) in enumerate(results, start=1):
            copies = copies or WrittenCopies([], crash)
            if copies.rows:
                folder.add(task.number, copies.rows)
            if copies.fatal:
                raise WorkError(f"the pseudo-fakes cannot be written to {task.folder}: {copies.failure}")
            if copies.failure:
                log.warning("%s is left out: %s", task.path, copies.failure)
            log.info("pseudo-fakes of %d of %d clips", number, len(tasks))


def shortened(stem: str) -> str:
    """Cut a stem to `MOST_STEM_BYTES`: file systems accept names of 255 bytes, and suffixes are added to it."""
    return stem.encode("utf-8", errors="replace")[:MOST_STEM_BYTES].decode("utf-8", errors="ignore")
