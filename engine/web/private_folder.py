"""Temporary folder of the web page. It is readable by its owner only and deleted on exit."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from engine.web.limits import MAX_NAME

KEEP_S = 1800.0
"""Age in seconds at which uploads that were never scored, and results, are deleted."""

SWEEP_S = 60.0
"""Interval in seconds between searches for files to delete."""

DEFAULT_NAME = "clip"


class PrivateFolder:
    """Folder of uploads, running jobs, results and examples.

    Attributes:
        root: the folder; mode 0700.
        uploads: clips that were uploaded and not scored yet, and results for download.
        jobs: clips that are being scored.
        examples: generated clips. They are kept.
    """

    def __init__(self, root: Path) -> None:
        """Use an existing private folder."""
        self.root = root.resolve()
        self.uploads, self.jobs, self.examples = (self.root / name for name in ("uploads", "jobs", "examples"))
        for folder in (self.uploads, self.jobs, self.examples):
            folder.mkdir(mode=0o700, exist_ok=True)

    @classmethod
    @contextlib.contextmanager
    def temporary(cls) -> Iterator[PrivateFolder]:
        """Create a private folder, delete old files in it from time to time, and delete it at the end of the block."""
        with tempfile.TemporaryDirectory(prefix="multi-ffdv-", ignore_cleanup_errors=True) as root:
            folder, stop = cls(Path(root)), threading.Event()
            sweeper = threading.Thread(target=folder.sweep_until, args=[stop], daemon=True)
            sweeper.start()
            try:
                yield folder
            finally:
                stop.set()
                sweeper.join()

    def new_file(self, name: str) -> Path:
        """Return an unused path for an upload or a result, in a sub-folder with an unguessable name."""
        folder = self.uploads / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        return folder / plain_name(name)

    @contextlib.contextmanager
    def job(self, upload: Path) -> Iterator[Path]:
        """Move an upload out of reach of other requests; delete it at the end of the block.

        Raises:
            FileNotFoundError: the upload was deleted, or is being scored by another request.
        """
        folder = self.jobs / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        try:
            clip = folder / plain_name(upload.name)
            os.replace(upload, clip)
            with contextlib.suppress(OSError):
                upload.parent.rmdir()
            yield clip
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def stored_bytes(self) -> int:
        """Return the size of all uploads and results."""
        return sum(size_of(path) for folder in (self.uploads, self.jobs) for path in folder.rglob("*"))

    def sweep_until(self, stop: threading.Event) -> None:
        """Delete old uploads and results until `stop` is set."""
        while not stop.wait(SWEEP_S):
            self.sweep()

    def sweep(self, keep_s: float = KEEP_S) -> None:
        """Delete uploads and results that are older than `keep_s` seconds, and empty folders."""
        oldest = time.time() - keep_s
        for path in sorted(self.uploads.rglob("*"), reverse=True):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.rmdir() if path.is_dir() else path.unlink()


def plain_name(name: str) -> str:
    """Return the last part of an uploaded file's name, shortened in front, as the name of a file in a folder of its own."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "")
    last = last.encode("utf-8", "replace").decode("utf-8")
    while len(last.encode()) > MAX_NAME:
        last = last[1:]
    return last if last.strip(". ") else DEFAULT_NAME


def size_of(path: Path) -> int:
    """Return the size of a file in bytes; 0 for anything else."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
