"""A labelled set of real clips and their pseudo-fakes, made in worker processes. An interrupted build can be resumed."""

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
"""Increase it when the same clips and settings would give a different set. Unfinished older sets are then not resumed."""

MOST_STEM_BYTES = 120
LONGEST_TASK_S = 7200.0
AUTOENCODER_STEPS = STEPS

NEEDS = {"audio": "a second of audio", "video": "a face", "both": "a second of audio and a face"}


def build_pseudo_fakes(paths: Sequence[Path], output: Path, settings: SetSettings, *, workers: int = 0) -> pd.DataFrame:
    """Write a set. Tracks that the set does not forge are copied packet by packet.

    After an interruption, finished copies are kept, and another call resumes the build. The set does not depend on the number
    of workers.

    Args:
        paths: real clips. A clip that cannot be read, or lacks the part to forge, is left out, and the reason is logged.
        output: folder for the set; receives `trainset/`, `trainset_label.txt` and `pseudo_fakes.json`.
        settings: see `SetSettings`.
        workers: number of worker processes; 0 for one per core.

    Returns:
        The label table: `video_name,target,type,start_s,end_s,group`. A group is an original with its forgeries.

    Raises:
        UsageError: the folder contains another set.
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
    """Return the identity of a set as JSON types: the settings, and a digest of the clips' names and contents."""
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
        originals: all originals.
        usable: indices of the usable originals found by an earlier run; `None` in the first run.
        settings: settings of the set.
        workers: number of worker processes.

    Raises:
        WorkError: fewer than two are usable, or a clip that was usable in the earlier run no longer is.
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
        raise WorkError(f"{len(usable) - len(found)} clips of the unfinished set can no longer be read")
    return found


def trained_autoencoders(originals: list[OriginalTask], settings: SetSettings) -> Path | None:
    """Train autoencoders on the originals' faces, in one worker; return their file, or `None` if no face is forged.

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
    """Return the task of each original. Swapped and spliced audio comes from the next original."""
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
    """Write the copies of clips and list them when they are complete.

    Raises:
        WorkError: the disk is full, or the folder is not writable.
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
    """Cut a stem to `MOST_STEM_BYTES`. File systems limit names to 255 bytes, and suffixes are added to the stem."""
    return stem.encode("utf-8", errors="replace")[:MOST_STEM_BYTES].decode("utf-8", errors="ignore")
