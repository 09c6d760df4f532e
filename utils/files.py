"""Files: atomic writes, names that stay below their root, hashes."""

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

from utils.errors import UsageError, WriteError

HASH_BLOCK_BYTES = 1 << 20
UNFINISHED_PREFIX = ".writing-"
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
CANNOT_WRITE = DISK_FULL | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""Error numbers that concern the place written to, not the data."""


def short_path(path: str | Path) -> Path:
    """Return a path below the working directory relative to it, for messages; any other path unchanged."""
    path, here = Path(path), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file in errors of the block that come from a full disk, a quota or missing permission.

    Raises:
        WriteError: one sentence with `path` and the reason. Other errors pass unchanged.
    """
    try:
        yield
    except WriteError:
        raise
    except (OSError, RuntimeError) as error:
        # torch.save may report a failed write as a RuntimeError raised while the OSError was handled.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError) or cause.errno not in CANNOT_WRITE:
            raise
        raise WriteError(f"{path} cannot be written: {cause.strerror}") from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`. It replaces `path` if the block succeeds, else it is removed.

    Readers therefore see either the old file or the whole new one. The suffix is kept, since some writers choose their
    format by it.

    Raises:
        WriteError: the disk is full, a quota is used up, or the folder may not be written to.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=UNFINISHED_PREFIX, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp makes files that only the owner can read; results should follow the user's umask instead.
            os.chmod(temporary, 0o666 & ~current_umask())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def current_umask() -> int:
    """Return the process's umask. It can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text_atomic(path: Path, text: str) -> Path:
    """Write UTF-8 `text` to `path` atomically and return the path; bytes of file names that are no UTF-8 are escaped."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return Path(path)


def is_whole_archive(path: Path) -> bool:
    """Return whether a ZIP archive of numpy or torch (`.npz`, `.pth`) exists and is complete."""
    return path.is_file() and zipfile.is_zipfile(path)


def unsafe_name(name: str) -> str | None:
    """Return why `name` may not be used below a data root, or `None` if it may.

    The check is of the text alone: symbolic links that the user put under the root are the user's decision.
    """
    portable = name.replace("\\", "/")
    if not portable.strip():
        return "it is empty"
    if "\0" in portable:
        return "it holds a NUL character"
    if portable.startswith("/"):
        return "it is an absolute path"
    if re.match(r"^[A-Za-z]:", portable):
        return "it names a drive"
    if ".." in PurePosixPath(portable).parts:
        return "it has a '..' part"
    if not PurePosixPath(portable).name:
        return "it names no file"
    return None


def existing_file(path: str | Path, what: str) -> Path:
    """Return `path` if it is a file; otherwise raise a `UsageError` that names `what` was looked for."""
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
