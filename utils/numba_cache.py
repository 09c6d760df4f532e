"""Cache folder of numba for users whose home folder is not writable."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from pathlib import Path

from utils.files import user_cache_folder


def set_numba_cache() -> None:
    """Set `NUMBA_CACHE_DIR` to a temporary folder if the user's cache folder is not writable.

    librosa cannot be imported if numba finds no writable cache folder, e.g. under a service account without a home folder.
    Call this before numba is imported. Worker processes inherit the variable.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    user_cache = user_cache_folder()
    existing = next(folder for folder in (user_cache, *user_cache.parents) if folder.is_dir())
    if not os.access(existing, os.W_OK | os.X_OK):
        os.environ["NUMBA_CACHE_DIR"] = str(temporary_cache())


def temporary_cache() -> Path:
    """Return a private folder below the system's temporary folder. Later processes of the same user reuse it."""
    folder = Path(tempfile.gettempdir()) / f"multi-ffdv-numba-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not is_private(folder):
            # Cached code is executed, so it must not come from a folder that another user can write to.
            folder = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def is_private(folder: Path) -> bool:
    """Return whether `folder` is not a link, belongs to this user and is not writable by others."""
    status = folder.lstat()
    owned = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return stat.S_ISDIR(status.st_mode) and owned and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
