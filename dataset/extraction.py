"""Extraction of a split. Clips without complete features are extracted, and every labelled clip gets a manifest row."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset.config import ExtractionConfig
from dataset.extraction_outputs import KnownRows, OutputPaths
from dataset.extraction_worker import ExtractionTask, crashed_row, extract_to_store
from dataset.label_hints import log_name_hints
from dataset.labels import read_labels
from dataset.manifest import (
    DONE,
    JOURNAL_SUFFIX,
    WHOLE,
    ManifestRows,
    Row,
    Shard,
    append_to_journal,
    manifest_files,
    read_manifest,
    read_rows,
    write_manifest,
)
from dataset.splits import Split
from dataset.workers import LOCAL, Engine, run_in_workers, worker_count
from utils.errors import WorkError
from utils.features.extract import require_parts

log = logging.getLogger(__name__)


@dataclass
class ExtractionSummary:
    """Result of the extraction of a split.

    Attributes:
        n_clips: number of clips in the label file, or in its shard.
        n_new: number of clips extracted by this run.
        statuses: number of rows per status.
        reasons: number of rows per reason code, without the empty one.
        seconds: duration of the run.
    """

    n_clips: int
    n_new: int = 0
    statuses: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    seconds: float = 0.0

    @classmethod
    def of(cls, rows: KnownRows, n_clips: int, seconds: float) -> ExtractionSummary:
        """Return the summary of the rows of `n_clips` clips."""
        reasons = rows.count("reason")
        del reasons[""]
        return cls(n_clips, len(rows.new), rows.count("status"), reasons, seconds)

    @property
    def coverage(self) -> float:
        """Share of the clips with at least one modality's features; 1 for a shard without clips."""
        return self.n_done / self.n_clips if self.n_clips else 1.0

    @property
    def n_done(self) -> int:
        """Number of clips with at least one modality's features."""
        return sum(self.statuses[status] for status in DONE)

    def sentence(self, split: str) -> str:
        """Format the summary in one line."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common())
        counts = ", ".join(f"{self.statuses[status]} {status}" for status in ("ok", "partial", "failed", "pending"))
        return (
            f"{split}: {self.n_clips} clips: {counts}{f' ({reasons})' if reasons else ''}; "
            f"{self.n_new} extracted now in {self.seconds:.1f} s, coverage {self.coverage:.3f}"
        )


def extract_split(
    split: Split,
    config: ExtractionConfig,
    *,
    shard: Shard = WHOLE,
    overwrite: bool = False,
    quiet: bool = False,
    engine: Engine = LOCAL,
) -> ExtractionSummary:
    """Extract the clips of a split that lack complete features.

    A clip is complete when its row has the status `ok` or `partial` and its files exist. Failed clips are retried.

    Args:
        split: paths of its labels, clips and features.
        config: workers, time limit, frame cap.
        shard: the part of the clips to extract.
        overwrite: extract all clips again.
        quiet: hide the progress bar.
        engine: where the clips are extracted.

    Raises:
        UsageError: the label file is invalid, features are stored with another fingerprint and `overwrite` is not set, or
            weights or packages are missing (`require_parts`).
        WorkError: the feature folder cannot be written.
    """
    started = time.monotonic()
    require_parts(split.store.config)
    all_names = read_labels(split.labels)["video_name"].tolist()
    names = shard.select(all_names)
    log_name_hints(names, split.videos, split.labels)
    folder = split.store.root
    manifest = folder / shard.manifest_name
    journal = manifest.with_suffix(JOURNAL_SUFFIX)
    scratch = folder / ".scratch" / manifest.stem
    outputs = OutputPaths(split, all_names)
    try:
        prepare_folder(split, [manifest, journal] if shard.count > 1 else None, overwrite=overwrite)
        known = ManifestRows.empty() if overwrite else rows_within(read_rows(folder), config.max_frames)
        rows, missing = outputs.known_rows(names, known)
        if missing or manifest_files(folder) != [manifest] or known.names != names:
            # If the process is killed after this point, the manifest lists all clips and the journal the completed ones.
            write_manifest(manifest, names, rows.all())
            journal.unlink(missing_ok=True)
        try:
            tasks = extraction_tasks(split, missing, outputs, scratch, journal, config.max_frames)
            with contextlib.closing(
                extract_missing(split.name, config, tasks, len(missing), quiet=quiet, engine=engine)
            ) as new_rows:
                for name, row in new_rows:
                    rows.new[name] = row
                    split.release(name)
        finally:
            # Workers may finish clips after the loop was interrupted; their rows are only in the journal.
            rows.new |= outputs.unseen_rows(read_manifest(journal), rows.new)
            if missing:
                write_manifest(manifest, names, rows.all())
            tidy(folder, scratch, journal, whole_manifest=shard.count == 1)
    except OSError as error:
        raise WorkError(f"the features cannot be written to {folder}: {error.strerror or error}") from error
    return ExtractionSummary.of(rows, len(names), time.monotonic() - started)


def rows_within(rows: ManifestRows, max_frames: int | None) -> ManifestRows:
    """Return the rows that are valid for this `max_frames`, without rows of clips that were cut at another limit."""
    n_frames = rows.table["n_frames"].to_numpy()
    reasons = rows.table["reason"]
    cut = reasons.isin([reason for reason in reasons.unique() if "too_long" in reason.split("+")]).to_numpy()
    if max_frames is None:
        return rows.where(~cut)
    return rows.where(np.where(cut, n_frames == max_frames, n_frames <= max_frames))


def prepare_folder(split: Split, own_manifests: list[Path] | None, *, overwrite: bool) -> None:
    """Check that stored features match this config, or prepare the folder for a new extraction.

    With `overwrite`, the manifests of features to be replaced are deleted so that old files are not taken for new ones. If the
    other shards already use this config, only the shard's own manifests (`own_manifests`) are deleted, else all of them.
    """
    store = split.store
    if store.has_features() and not overwrite:
        store.check()
        return
    store.root.mkdir(parents=True, exist_ok=True)
    if overwrite:
        for path in own_manifests if own_manifests and store.matches() else manifest_files(store.root):
            path.unlink(missing_ok=True)
    store.write_config()


def extraction_tasks(
    split: Split, names: list[str], outputs: OutputPaths, scratch: Path, journal: Path, max_frames: int | None
) -> Iterator[ExtractionTask]:
    """Yield the tasks of extracting the named clips, after creating an empty folder `scratch`."""
    if names:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    for name in names:
        yield ExtractionTask(name, split.video_path(name), outputs.of(name), scratch, journal, split.store, max_frames)


def extract_missing(
    split_name: str,
    config: ExtractionConfig,
    tasks: Iterable[ExtractionTask],
    total: int,
    *,
    quiet: bool,
    engine: Engine,
) -> Generator[tuple[str, Row], None, None]:
    """Extract clips in the workers of an engine and yield each row when it is complete."""
    if not total:
        return
    workers = worker_count(config.workers, total, engine)
    progress = tqdm(total=total, desc=split_name, unit="clip", disable=quiet, smoothing=0.05, dynamic_ncols=True)
    results = run_in_workers(
        extract_to_store,
        tasks,
        workers=workers,
        timeout_s=config.timeout_s,
        memory_gb=config.memory_gb,
        ordered=False,
        engine=engine,
    )
    with progress, contextlib.closing(results):
        for task, row, reason in results:
            if row is None:
                row = crashed_row(reason, config.timeout_s if reason == "timeout" else 0.0)
                append_to_journal(task.journal, task.name, row)
            if row.facts.status == "failed":
                for path in task.outputs.values():
                    # Remove files left by an earlier run or a crashed worker.
                    with contextlib.suppress(OSError):
                        path.unlink()
                log.warning("%s/%s: %s", split_name, task.name, row.facts.reason)
            progress.update()
            yield task.name, row


def tidy(folder: Path, scratch: Path, journal: Path, *, whole_manifest: bool) -> None:
    """Remove the journal, unfinished files and merged shard manifests after the manifest was written."""
    shutil.rmtree(scratch, ignore_errors=True)
    with contextlib.suppress(OSError):
        # Another shard may still use the common folder; the last shard removes it.
        scratch.parent.rmdir()
    journal.unlink(missing_ok=True)
    if whole_manifest:
        for path in manifest_files(folder):
            if path.name != "extraction.csv":
                path.unlink(missing_ok=True)
