"""File helpers: atomic writes, checks of file names, hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tokenize import TokenError

from utils.errors import UsageError, WriteError

HASH_BLOCK_BYTES = 1 << 20
UNFINISHED_PREFIX = ".writing-"
LOCK_NAME = ".lock"
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
CANNOT_WRITE = DISK_FULL | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""Error numbers of failed writes that are caused by the file system, not by the data."""
DAMAGED_ARRAY = (OSError, ValueError, EOFError, MemoryError, RecursionError, SyntaxError, TokenError)
"""Errors of reading a damaged `.npy` or `.npz` file: its headers, parsed as Python text, can declare any size."""


def short_path(path: str | Path) -> Path:
    """Return `path` relative to the working directory if it is below it, else unchanged. For messages."""
    path, here = Path(path), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise a `WriteError` that names the file if the block fails due to a full disk, a quota or missing permission.

    Raises:
        WriteError: one sentence with `path` and the reason. Other errors propagate unchanged.
    """
    try:
        yield
    except WriteError:
        raise
    except (OSError, RuntimeError) as error:
        # torch.save may raise a RuntimeError while it handles the OSError of a failed write.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError) or cause.errno not in CANNOT_WRITE:
            raise
        raise WriteError(f"{path} cannot be written: {cause.strerror}") from None


def user_cache_folder() -> Path:
    """Return the folder of the user's caches, which may not exist: `XDG_CACHE_HOME`, by default `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")).absolute()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of an existing folder within the block, while other processes that lock it wait.

    The lock ends with this process, whatever ends it. On a network file system, it also holds for other machines if the file
    system supports that.

    Raises:
        WriteError: the folder cannot be written.
    """
    import fcntl  # absent on Windows, where scoring works

    with writing(folder):
        stream = open(folder / LOCK_NAME, "w", encoding="utf-8")  # noqa: SIM115  (closed below)
    with stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`. It replaces `path` if the block succeeds, else it is removed.

    Readers therefore see either the old file or the complete new file. The temporary path has the suffix of `path`,
    because some writers choose the format from it. A symbolic link stays a link: the file that it leads to is replaced.

    Raises:
        WriteError: the disk is full, a quota is exceeded, or the folder is not writable.
    """
    path = Path(path)
    with writing(path):
        target = write_target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=UNFINISHED_PREFIX, suffix=path.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # Files made by mkstemp are readable only by their owner. Apply the user's umask instead.
            os.chmod(temporary, 0o666 & ~current_umask())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def write_target(path: Path) -> Path:
    """Return the file to replace when `path` is written: the file that a symbolic link leads to, present or not.

    Devices and pipes are never replaced; if the link leads to one, the link itself is replaced.
    """
    real = Path(os.path.realpath(path))
    return real if path.is_symlink() and (real.is_file() or not real.exists()) else path


def current_umask() -> int:
    """Return the umask of the process. Reading it requires setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text_atomic(path: Path, text: str) -> Path:
    """Write `text` to `path` atomically as UTF-8 and return the path. Undecodable bytes of file names are escaped."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return Path(path)


def unsafe_name(name: str) -> str | None:
    """Return the reason why `name` must not be used as a path below a data root, or `None` if it is safe.

    Only the text is checked. Symbolic links below the root are allowed, since the user has created them.
    """
    portable = name.replace("\\", "/")
    if not portable.strip():
        return "it is empty"
    if "\0" in portable:
        return "it contains a NUL character"
    if portable.startswith("/"):
        return "it is an absolute path"
    if re.match(r"^[A-Za-z]:", portable):
        return "it contains a drive letter"
    if ".." in PurePosixPath(portable).parts:
        return "it has a '..' part"
    if not PurePosixPath(portable).name:
        return "it does not name a file"
    return None


def existing_file(path: str | Path, what: str) -> Path:
    """Return `path` if it is a file.

    Raises:
        UsageError: `path` is a folder or does not exist. The message starts with `what`, for example "the label file".
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{what} is a folder, not a file: {path}")
    if not path.is_file():
        raise UsageError(f"{what} does not exist: {path}")
    return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits. The file is read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def is_plain_archive(path: Path) -> bool:
    """Return whether a file is a zip archive as torch and numpy write it: its parts are neither compressed nor overlapping.

    The arrays of such a file take no more memory than the file has bytes. A few compressed bytes may expand to gigabytes.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(part.file_size for part in archive.infolist()) <= path.stat().st_size
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
