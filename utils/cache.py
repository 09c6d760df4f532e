"""Content-keyed cache on disk. Only missing entries are computed.

The name of an entry is a hash of the clip's bytes and of all settings that determine its content. If the clip or a
setting changes, the name changes too, and a stale entry is never read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from utils.files import file_sha256

log = logging.getLogger(__name__)

KEY_DIGITS = 24
MISSING_FILE = ""
"""Content key of a file that does not exist or cannot be read."""


class CacheEntry(Protocol):
    """One entry to compute: a picklable description of its inputs."""

    @property
    def name(self) -> str:
        """Name for log lines and error messages."""

    @property
    def cache_path(self) -> Path:
        """File of the entry. Its name contains the `entry_key`."""


EntryT = TypeVar("EntryT", bound=CacheEntry)

Runner = Callable[[Callable[[Any], str | None], Sequence[Any]], Iterable[tuple[Any, str | None, str]]]
"""Runs a function on tasks, usually in worker processes, and yields (task, result, reason code of a crash or "")."""


def content_key(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits, or `MISSING_FILE`.

    A process reads each file once, and again only if its size or modification time changes.
    """
    try:
        facts = path.stat()
        return _sha256_of(path, facts.st_size, facts.st_mtime_ns) if path.is_file() else MISSING_FILE
    except OSError:
        return MISSING_FILE


@cache
def _sha256_of(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # only part of the memoisation key
    return file_sha256(path)


def entry_key(*recipe: Any) -> str:
    """Return a hash of the recipe, 24 hex digits.

    Args:
        recipe: everything that determines the content of the entry, as JSON types: content keys, versions, settings,
            seeds.
    """
    text = json.dumps(recipe, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def is_intact_archive(path: Path) -> bool:
    """Return whether a file is an undamaged `.npz` or `.pth` archive. Verifies the checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError):
        return False


def compute_missing(
    entries: Iterable[EntryT],
    compute: Callable[[EntryT], str | None],
    run: Runner,
    *,
    step: str,
    is_intact: Callable[[Path], bool] = is_intact_archive,
) -> dict[Path, str]:
    """Compute the entries that are missing or damaged, and log progress and failures.

    If the run is interrupted, finished entries stay on disk. The next run computes the remaining ones.

    Args:
        entries: the required entries. Entries with the same `cache_path` are computed once.
        compute: module-level function that writes `entry.cache_path` atomically. Returns a reason code if it fails.
        run: see `Runner`.
        step: name of the step for the log, for example "clip features".
        is_intact: checks an existing entry.

    Returns:
        Cache path -> reason code of each failed entry. All other entries exist and are intact.
    """
    unique = {entry.cache_path: entry for entry in entries}
    missing = [entry for path, entry in unique.items() if not is_intact(path)]
    if not missing:
        return {}
    for folder in {entry.cache_path.parent for entry in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    failures: dict[Path, str] = {}
    for number, (entry, failure, crash) in enumerate(run(compute, missing), start=1):
        log.info("%s: %d of %d", step, number, len(missing))
        if reason := crash or failure:
            log.warning("%s: %s failed: %s", step, entry.name, reason)
            failures[entry.cache_path] = reason
    return failures
