"""A cache on disk that is keyed by content and computes only what is missing.

An entry is named by a hash of the clip's bytes and of the recipe that it was made with. A changed clip or a changed
setting therefore gives another entry, and a stale one is never read.
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
        """The name in log lines and error messages."""

    @property
    def cache_path(self) -> Path:
        """The file of the entry, named with `entry_key`."""


EntryT = TypeVar("EntryT", bound=CacheEntry)

Runner = Callable[[Callable[[Any], str | None], Sequence[Any]], Iterable[tuple[Any, str | None, str]]]
"""Runs a function on tasks, usually in worker processes, and yields (task, result, reason code of a crash)."""


def content_key(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as hex digits, or `MISSING_FILE`.

    Each file is read once per process, unless its size or modification time changes.
    """
    try:
        facts = path.stat()
        return _sha256_of(path, facts.st_size, facts.st_mtime_ns) if path.is_file() else MISSING_FILE
    except OSError:
        return MISSING_FILE


@cache
def _sha256_of(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # part of the memo's key only
    return file_sha256(path)


def entry_key(*recipe: Any) -> str:
    """Return 24 hex digits that differ whenever the recipe does.

    Args:
        recipe: everything that decides the entry's content, as JSON types: content keys, versions, settings, seeds.
    """
    text = json.dumps(recipe, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def is_intact_archive(path: Path) -> bool:
    """Return whether a file is an undamaged `.npz` or `.pth` archive: its checksums are verified."""
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

    Finished entries stay on disk when the run is interrupted, and the next run continues with the others.

    Args:
        entries: the entries needed; several with the same `cache_path` are computed once.
        compute: a module-level function that writes `entry.cache_path` atomically. It returns a reason, if it failed.
        run: see `Runner`.
        step: what is computed, for the log ("clip features").
        is_intact: checks an existing entry.

    Returns:
        The failed entries: cache path -> reason. All other entries exist and are intact.
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
