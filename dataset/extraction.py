"""Extraction of a split. Clips without complete features are extracted, and every labelled clip gets a manifest row."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections import ChainMap, Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset.config import ExtractionConfig
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
from dataset.workers import run_in_workers, worker_count
from utils.errors import WorkError
from utils.features.base import Feature
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
    rows = KnownRows()
    seen: set[str] = set()
    try:
        prepare_folder(split, [manifest, journal] if shard.count > 1 else None, overwrite=overwrite)
        known = ManifestRows.empty() if overwrite else rows_within(read_rows(folder), config.max_frames)
        rows, missing = outputs.known_rows(names, known)
        if missing or manifest_files(folder) != [manifest] or known.names != names:
            # If the process is killed after this point, the manifest lists all clips and the journal the completed ones.
            write_manifest(manifest, names, rows.all())
            journal.unlink(missing_ok=True)
        try:
            with contextlib.closing(
                extract_missing(split, config, missing, outputs, scratch, journal, quiet=quiet)
            ) as new_rows:
                for name, row in new_rows:
                    rows.new[name] = row
                    seen.add(name)
        finally:
            # Workers may finish clips after the loop was interrupted; their rows are only in the journal.
            written = read_manifest(journal)
            unseen = written.where(np.array([name not in seen for name in written], bool))
            rows.new |= unseen.where(outputs.whole(unseen))
            if missing:
                write_manifest(manifest, names, rows.all())
            tidy(folder, scratch, journal, whole_manifest=shard.count == 1)
    except OSError as error:
        raise WorkError(f"the features cannot be written to {folder}: {error.strerror or error}") from error
    summary.n_new = len(seen)
    summary.seconds = time.monotonic() - started
    summary.statuses, summary.reasons = rows.count("status"), rows.count("reason")
    del summary.reasons[""]
    return summary


def rows_within(rows: ManifestRows, max_frames: int | None) -> ManifestRows:
    """Return the rows that are valid for this `max_frames`, without rows of clips that were cut at another limit."""
    n_frames = rows.table["n_frames"].to_numpy()
    reasons = rows.table["reason"]
    cut = reasons.isin([reason for reason in reasons.unique() if "too_long" in reason.split("+")]).to_numpy()
    if max_frames is None:
        return rows.where(~cut)
    return rows.where(np.where(cut, n_frames == max_frames, n_frames <= max_frames))


@dataclass
class KnownRows:
    """Rows of a split.

    Attributes:
        old: rows from earlier runs, one per name.
        new: rows that replace them.
    """

    old: ManifestRows = field(default_factory=ManifestRows.empty)
    new: dict[str, Row] = field(default_factory=dict)

    def all(self) -> Mapping[str, Row]:
        """Return the current rows by clip name."""
        return ChainMap(self.new, self.old)  # type: ignore[arg-type]

    def count(self, column: str) -> Counter[str]:
        """Return the number of rows per status or reason."""
        kept = self.old
        if self.new:
            kept = self.old.where(~self.old.table["video_name"].isin(list(self.new)).to_numpy())
        return kept.count(column) + Counter(getattr(row.facts, column) for row in self.new.values())


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
        self._features = split.store.stored_features()
        self._names = names
        self._stems = [stem_of(name) for name in names]
        self._shared = shared_stems(names, self._stems)
        if self._shared:
            log.info("%s: %d clips share a stem; their wav files use the whole name", split.name, len(self._shared))

    def of(self, name: str) -> dict[str, Path]:
        """Return the clip's paths by feature name."""
        shared = name in self._shared
        return {feature.name: self._store.path(feature.name, name, shared_stem=shared) for feature in self._features}

    def known_rows(self, names: list[str], rows: ManifestRows) -> tuple[KnownRows, list[str]]:
        """Return the rows that are still valid, and the names to extract.

        A failed row is valid until its clip is retried. A row with missing files is not valid.
        """
        rows = rows.of(names)
        whole = self.whole(rows)
        if len(rows) == len(names) and whole.all():
            return KnownRows(rows), []
        failed = (rows.table["status"] == "failed").to_numpy()
        found = {name for name, is_whole in zip(rows.names, whole, strict=True) if is_whole}
        return KnownRows(rows.where(whole | failed)), [name for name in names if name not in found]

    def whole(self, rows: ManifestRows) -> np.ndarray:
        """Return a (N,) bool mask of the rows that report success and whose files all exist."""
        whole = rows.table["status"].isin(DONE).to_numpy(copy=True)
        if not whole.any():
            return whole
        combination, facts = rows.combinations()
        for feature in self._features:
            expected = np.array([feature.expected(clip) for clip in facts], bool)[combination]
            existing = self._store.existing(feature)
            files = self._files(feature, rows.names)
            whole &= ~expected | np.fromiter(map(existing.__contains__, files), bool, len(rows))
        return whole

    def _files(self, feature: Feature, names: list[str]) -> Iterator[str]:
        """Yield the file of a feature below its folder for each clip."""
        suffix, shared = feature.suffix, self._shared
        if not feature.named_by_stem:
            return (normal_name(name) + suffix for name in names)
        stems = self._stems if names == self._names else map(stem_of, names)
        if not shared:
            return (stem + suffix for stem in stems)
        return (
            (normal_name(name) if name in shared else stem) + suffix for name, stem in zip(names, stems, strict=True)
        )


def shared_stems(names: list[str], stems: list[str]) -> set[str]:
    """Return the names whose stem is also the stem or the full name of another clip.

    `a.mp4.avi` must not use `a.mp4.wav`: `a.mp4` has this file when it shares its stem with another clip.
    """
    distinct = set(stems)
    if len(distinct) == len(names) and distinct.isdisjoint(map(normal_name, names)):
        return set()
    counts = Counter(stems)
    taken = {normal_name(name) for name in names}
    return {name for name, stem in zip(names, stems, strict=True) if counts[stem] > 1 or stem in taken}
