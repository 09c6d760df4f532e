"""A labelled set of real clips and their pseudo-fakes, made in worker processes; an interrupted build can be continued."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.pseudo_fakes.common import REAL
from dataset.pseudo_fakes.copies import (
    CopyTask,
    LabelRow,
    Modality,
    OriginalTask,
    TrainingTask,
    WrittenCopies,
    store_autoencoders,
    store_original,
    write_copies,
)
from dataset.pseudo_fakes.face.autoencoder import STEPS, chosen_clips
from dataset.pseudo_fakes.face.video import FACE_TYPES
from dataset.pseudo_fakes.voice.soundtrack import AUDIO_TYPES
from dataset.workers import run_in_workers, worker_count
from utils.cache import compute_missing, content_key
from utils.errors import UsageError, WorkError
from utils.files import UNFINISHED_PREFIX, write_text_atomic

log = logging.getLogger(__name__)

SET_VERSION = 1
"""Raise it when the same clips and settings would give another set: an unfinished one is then not continued."""

CLIPS, LABELS, STATE, WORK = "trainset", "trainset_label.txt", "pseudo_fakes.json", ".pseudo_fakes"
COLUMNS = ("video_name", "target", "type", "start_s", "end_s", "group")
MOST_STEM_BYTES = 120
LONGEST_TASK_S = 7200.0
AUTOENCODER_STEPS = STEPS

NEEDS = {"audio": "a second of audio", "video": "a face", "both": "a second of audio and a face"}


@dataclass(frozen=True)
class SetSettings:
    """Everything that decides a set, apart from the clips.

    Attributes:
        seed: seed of all random changes.
        fakes_per_clip: forged copies of each clip.
        modality: forge the audio, the face, or in turn one of both. With `both`, every copy has its audio post-processed and
            its frames re-encoded, the real one included.
    """

    seed: int = 0
    fakes_per_clip: int = 1
    modality: Modality = "audio"

    def types(self) -> tuple[str, ...]:
        """Return the types of forgery in the order in which clips get them."""
        if self.modality == "audio":
            return AUDIO_TYPES
        if self.modality == "video":
            return FACE_TYPES
        both = itertools.zip_longest(AUDIO_TYPES, FACE_TYPES)
        return tuple(kind for pair in both for kind in pair if kind is not None)

    def kinds(self, number: int) -> tuple[str, ...]:
        """Return the kinds of the copies of a clip: `real`, then types of forgery."""
        types, first = self.types(), number * self.fakes_per_clip
        return (REAL, *(types[(first + step) % len(types)] for step in range(self.fakes_per_clip)))


@dataclass
class SetFolder:
    """The folder of a set, finished or not.

    Its labels file lists exactly the copies that are complete. The state file holds the settings and the usable clips, so
    that a later run can tell whether it may continue.

    Attributes:
        root: the folder.
        rows: label rows of each clip's copies, by clip number.
        usable: indices of the usable ones among the clips; `None` until it is known.
    """

    root: Path
    rows: dict[int, list[LabelRow]]
    usable: list[int] | None = None

    @classmethod
    def open(cls, root: Path, record: dict[str, Any], settings: SetSettings) -> SetFolder:
        """Open a folder, with the finished copies that it holds.

        Raises:
            UsageError: it holds a set of other clips or settings, or one that cannot be continued.
        """
        labels, state = root / LABELS, root / STATE
        if not state.exists():
            if labels.exists():
                raise UsageError(f"--output {root}: there is a {LABELS} already")
            return cls(root, {})
        try:
            stored = json.loads(state.read_text(encoding="utf-8"))
            found, usable = stored["settings"], [int(index) for index in stored["usable"]]
        except (OSError, ValueError, KeyError, TypeError):
            raise UsageError(f"--output {root}: {STATE} is damaged; choose another folder") from None
        if found != record:
            changed = ", ".join(key for key in record if found.get(key) != record[key])
            raise UsageError(f"--output {root} holds a set made with another {changed}; choose another folder")
        folder = cls(root, {}, usable)
        for number, rows in read_rows(labels).items():
            complete = len(rows) == len(settings.kinds(number))
            if complete and all((root / CLIPS / row[0]).is_file() for row in rows):
                folder.rows[number] = rows
        return folder

    def start(self, record: dict[str, Any], usable: list[int]) -> None:
        """Store the settings and the usable clips, list the complete copies, and remove unfinished files."""
        self.usable = usable
        write_text_atomic(self.root / STATE, json.dumps({"settings": record, "usable": usable}) + "\n")
        self.write_labels()
        for path in (self.root / CLIPS).glob(f"{UNFINISHED_PREFIX}*"):
            path.unlink(missing_ok=True)

    def add(self, number: int, rows: list[LabelRow]) -> None:
        """Append the rows of one clip's copies in a single write: a kill leaves whole lines."""
        self.rows[number] = rows
        with open(self.root / LABELS, "ab", buffering=0) as file:
            file.write(table_of(rows).to_csv(index=False, header=False).encode("utf-8", errors="backslashreplace"))

    def write_labels(self) -> pd.DataFrame:
        """Write the labels in the order of the clips and return them."""
        table = table_of([row for number in sorted(self.rows) for row in self.rows[number]])
        write_text_atomic(self.root / LABELS, table.to_csv(index=False))
        return table


def build_pseudo_fakes(
    paths: Sequence[Path], output: Path, settings: SetSettings = SetSettings(), *, workers: int = 0
) -> pd.DataFrame:
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


def table_of(rows: list[LabelRow]) -> pd.DataFrame:
    """Return label rows as a table."""
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_rows(labels: Path) -> dict[int, list[LabelRow]]:
    """Read the rows of an unfinished labels file by clip number; a line that was cut short is skipped."""
    if not labels.exists():
        return {}
    table = pd.read_csv(labels, dtype=str, keep_default_na=False, on_bad_lines="skip")
    rows: dict[int, list[LabelRow]] = {}
    for name, target, kind, start, end, group in table.itertuples(index=False):
        number = str(group).partition("_")[0]
        if number.isdigit() and str(name).startswith(f"{group}__"):
            span: tuple[float | str, float | str] = (float(start), float(end)) if start else ("", "")
            rows.setdefault(int(number), []).append((name, int(target), kind, *span, group))
    return rows
