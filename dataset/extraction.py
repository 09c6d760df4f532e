"""Extraction of a split. Clips without complete features are extracted, and every labelled clip gets a manifest row."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from dataset.config import ExtractionConfig
from dataset.extraction_worker import ExtractionTask, crashed_row, extract_to_store
from dataset.label_hints import log_name_hints
from dataset.labels import read_labels
from dataset.manifest import (
    DONE,
    JOURNAL_SUFFIX,
    WHOLE,
    Row,
    Shard,
    append_to_journal,
    manifest_files,
    read_manifest,
    read_rows,
    write_manifest,
)
from dataset.splits import Split
from dataset.workers import run_in_workers, worker_count
from utils.errors import WorkError
from utils.features.clip import ClipFacts
from utils.features.extract import require_parts
from utils.features.store import normal_name, stem_of

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
    split: Split, config: ExtractionConfig, *, shard: Shard = WHOLE, overwrite: bool = False, quiet: bool = False
) -> ExtractionSummary:
    """Extract the clips of a split that lack complete features.

    A clip is complete when its row has the status `ok` or `partial` and its files exist. Failed clips are retried.

    Args:
        split: paths of its labels, clips and features.
        config: workers, time limit, frame cap.
        shard: the part of the clips to extract.
        overwrite: extract all clips again.
        quiet: hide the progress bar.

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
    manifest, journal = folder / shard.manifest_name, (folder / shard.manifest_name).with_suffix(JOURNAL_SUFFIX)
    scratch = folder / ".scratch" / manifest.stem
    outputs = OutputPaths(split, all_names)
    summary = ExtractionSummary(len(names))
    seen: set[str] = set()
    try:
        prepare_folder(split, [manifest, journal] if shard.count > 1 else None, overwrite=overwrite)
        known = {} if overwrite else rows_within(read_rows(folder), config.max_frames)
        rows, missing = outputs.known_rows(names, known)
        if missing or manifest_files(folder) != [manifest] or list(known) != names:
            # If the process is killed after this point, the manifest lists all clips and the journal the completed ones.
            write_manifest(manifest, names, rows)
            journal.unlink(missing_ok=True)
        try:
            with contextlib.closing(
                extract_missing(split, config, missing, outputs, scratch, journal, quiet=quiet)
            ) as new_rows:
                for name, row in new_rows:
                    rows[name] = row
                    seen.add(name)
        finally:
            # Workers may finish clips after the loop was interrupted; their rows are only in the journal.
            unseen = {name: row for name, row in read_manifest(journal).items() if name not in seen}
            rows |= {name: unseen[name] for name in outputs.whole(list(unseen), unseen)}
            if missing:
                write_manifest(manifest, names, rows)
            tidy(folder, scratch, journal, whole_manifest=shard.count == 1)
    except OSError as error:
        raise WorkError(f"the features cannot be written to {folder}: {error.strerror or error}") from error
    summary.n_new = len(seen)
    summary.seconds = time.monotonic() - started
    for name in names:
        facts = rows[name].facts
        summary.statuses[facts.status] += 1
        if facts.reason:
            summary.reasons[facts.reason] += 1
    return summary


def rows_within(rows: dict[str, Row], max_frames: int | None) -> dict[str, Row]:
    """Return the rows that are valid for this `max_frames`, without rows of clips that were cut at another limit."""

    def holds(facts: ClipFacts) -> bool:
        if "too_long" in facts.reasons:
            return facts.n_frames == max_frames
        return max_frames is None or facts.n_frames <= max_frames

    return {name: row for name, row in rows.items() if holds(row.facts)}


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


def extract_missing(
    split: Split,
    config: ExtractionConfig,
    names: list[str],
    outputs: OutputPaths,
    scratch: Path,
    journal: Path,
    *,
    quiet: bool,
) -> Generator[tuple[str, Row], None, None]:
    """Extract the named clips in worker processes and yield each row when it is complete."""
    if not names:
        return
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    tasks = (
        ExtractionTask(
            name,
            split.video_path(name),
            outputs.of(name),
            scratch,
            journal,
            split.store,
            config.max_frames,
        )
        for name in names
    )
    workers = worker_count(config.workers, len(names))
    progress = tqdm(total=len(names), desc=split.name, unit="clip", disable=quiet, smoothing=0.05, dynamic_ncols=True)
    results = run_in_workers(
        extract_to_store,
        tasks,
        workers=workers,
        timeout_s=config.timeout_s,
        memory_gb=config.memory_gb,
        ordered=False,
    )
    with progress, contextlib.closing(results):
        for task, row, reason in results:
            if row is None:
                row = crashed_row(reason, config.timeout_s if reason == "timeout" else 0.0)
                append_to_journal(journal, task.name, row)
            if row.facts.status == "failed":
                for path in task.outputs.values():
                    # Remove files left by an earlier run or a crashed worker.
                    with contextlib.suppress(OSError):
                        path.unlink()
                log.warning("%s/%s: %s", split.name, task.name, row.facts.reason)
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


class OutputPaths:
    """Output paths of each clip's features. Clips that share a stem get distinct wav names."""

    def __init__(self, split: Split, names: list[str]) -> None:
        """Find the shared stems among all names of the label file."""
        self._store = split.store
        stems = [stem_of(name) for name in names]
        counts = Counter(stems)
        # `a.mp4.avi` must not use `a.mp4.wav`: `a.mp4` has this file when it shares its stem with another clip.
        taken = {normal_name(name) for name in names}
        self._shared = {name for name, stem in zip(names, stems, strict=True) if counts[stem] > 1 or stem in taken}
        self._stems = dict(zip(names, stems, strict=True))
        self._features = split.store.stored_features()
        if self._shared:
            log.info("%s: %d clips share a stem; their wav files use the whole name", split.name, len(self._shared))

    def of(self, name: str) -> dict[str, Path]:
        """Return the clip's paths by feature name."""
        shared = name in self._shared
        return {feature.name: self._store.path(feature.name, name, shared_stem=shared) for feature in self._features}

    def known_rows(self, names: list[str], rows: dict[str, Row]) -> tuple[dict[str, Row], list[str]]:
        """Return the rows that are still valid, and the names to extract.

        A failed row is valid until its clip is retried. A row with missing files is not valid.
        """
        whole = {name: rows[name] for name in self.whole(names, rows)}
        missing = [name for name in names if name not in whole]
        failed = {name: rows[name] for name in missing if name in rows and rows[name].facts.status == "failed"}
        return {**whole, **failed}, missing

    def whole(self, names: list[str], rows: dict[str, Row]) -> list[str]:
        """Return the names whose row reports success and whose files all exist."""
        done = [name for name in names if name in rows and rows[name].facts.status in DONE]
        if not done:
            return []
        existing = self._store.existing()
        return [name for name in done if self._is_whole(name, rows[name].facts, existing)]

    def _is_whole(self, name: str, facts: ClipFacts, existing: dict[str, set[str]]) -> bool:
        whole_name = normal_name(name)
        stem = whole_name if name in self._shared else self._stems[name]
        return all(
            f"{stem if feature.named_by_stem else whole_name}{feature.suffix}" in existing[feature.name]
            for feature in self._features
            if feature.expected(facts)
        )
