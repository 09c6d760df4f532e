"""Files at URLs such as `s3://bucket/clips`, through fsspec. They are copied to local files, since decoders open only those."""

from __future__ import annotations

import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import UsageError, WorkError, error_line
from utils.files import atomic_path

log = logging.getLogger(__name__)

URL = re.compile(r"(?:[A-Za-z0-9+.-]+::)*[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(location: str | None) -> bool:
    """Return whether a path given by the user is a URL."""
    return location is not None and URL.match(location) is not None


@dataclass(frozen=True)
class RemoteFolder:
    """A folder at a URL.

    Attributes:
        url: the URL without a slash at the end.
        files: fsspec's file system.
        root: path of the folder in that file system.
    """

    url: str
    files: Any
    root: str

    @classmethod
    def at(cls, url: str) -> RemoteFolder:
        """Return the folder at a URL, which need not exist.

        Raises:
            UsageError: the URL has an unknown protocol, or its package is not installed.
        """
        try:
            from fsspec.core import url_to_fs

            files, root = url_to_fs(url)
        except ModuleNotFoundError as error:
            raise UsageError(f"{url} needs the package {error.name}, which is not installed: `make install`") from None
        except (ImportError, ValueError) as error:
            raise UsageError(f"{url} cannot be opened: {error}") from None
        return cls(url.rstrip("/"), files, root.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether the folder is on this machine."""
        return "file" in (self.files.protocol if isinstance(self.files.protocol, tuple) else (self.files.protocol,))

    def names(self) -> list[str]:
        """Return the names of all files in the folder and its sub-folders, relative to it, sorted; empty if it is missing.

        Raises:
            WorkError: the folder cannot be listed.
        """
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Return the size of each of these files in bytes, by name.

        Raises:
            WorkError: the folder cannot be listed.
        """
        try:
            self.files.invalidate_cache()
            found = self.files.find(self.root, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise WorkError(f"{self.url} cannot be listed: {error_line(error)}") from None
        return {path[len(self.root) :].lstrip("/"): facts["size"] for path, facts in found.items()}

    def download(self, name: str, path: Path) -> None:
        """Copy a file to a local one, atomically.

        Raises:
            FileNotFoundError: it does not exist.
            WorkError: it cannot be read.
        """
        with atomic_path(path) as temporary:
            try:
                with self.files.open(f"{self.root}/{name}", "rb") as source, open(temporary, "wb") as target:
                    shutil.copyfileobj(source, target)
            except FileNotFoundError:
                raise
            except Exception as error:
                raise WorkError(f"{self.url}/{name} cannot be read: {error_line(error)}") from None

    def fetch(self, name: str, path: Path) -> None:
        """Copy a clip to a local file. If it cannot be read, warn and leave the file missing."""
        try:
            self.download(name, path)
        except (FileNotFoundError, WorkError) as error:
            log.warning("%s", error if isinstance(error, WorkError) else f"{self.url}/{name} does not exist")

    def upload(self, path: Path, name: str) -> None:
        """Replace a file by a local one. Readers see the old file or the complete new one.

        Raises:
            WorkError: it cannot be written.
        """
        try:
            if self.is_local:
                with atomic_path(Path(self.root) / name) as temporary:
                    shutil.copyfile(path, temporary)
                return
            target = f"{self.root}/{name}"
            with self.files.transaction, open(path, "rb") as source, self.files.open(target, "wb") as stream:
                shutil.copyfileobj(source, stream)
        except Exception as error:
            raise WorkError(f"{self.url}/{name} cannot be written: {error_line(error)}") from None

    def remove(self, name: str) -> None:
        """Delete a file.

        Raises:
            WorkError: it cannot be deleted.
        """
        try:
            self.files.rm_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return
        except Exception as error:
            raise WorkError(f"{self.url}/{name} cannot be deleted: {error_line(error)}") from None


def remote_file(url: str) -> tuple[RemoteFolder, str]:
    """Return the folder and the name of a file at a URL.

    Raises:
        UsageError: see `RemoteFolder.at`; or the URL names no file.
    """
    folder, _, name = url.rpartition("/")
    if not name:
        raise UsageError(f"{url} names a folder, not a file")
    return RemoteFolder.at(f"{folder}/"), name
