"""Clips at URLs for scoring. A clip is copied to a private file when it is decoded, and the copy is deleted with its row."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from engine.clip_search import CLIP_SUFFIXES, FEATURES_FILE, soundtracks
from engine.config import EMPTY_DATA_HINT
from utils.errors import UsageError
from utils.remote import RemoteFolder

log = logging.getLogger(__name__)

NamedClip = str | os.PathLike[str]
"""A clip to score. Its text is its name in the output: a path, or a URL as given, which a `Path` would shorten."""


class RemoteClip:
    """A clip at a URL, which is its name; as a path, it is its local copy."""

    def __init__(self, folder: RemoteFolder, name: str, copy: Path) -> None:
        """Copy nothing yet; `copy` is the path of the copy."""
        self._folder, self._name, self._copy = folder, name, copy

    def __str__(self) -> str:
        """Return the URL."""
        return f"{self._folder.url}/{self._name}"

    def __fspath__(self) -> str:
        """Copy the clip if there is no copy, and return its path, which does not exist if the clip cannot be read."""
        if not self._copy.exists():
            self._folder.fetch(self._name, self._copy)
        return str(self._copy)

    def release(self) -> None:
        """Delete the copy."""
        self._copy.unlink(missing_ok=True)


def release(clip: NamedClip) -> None:
    """Delete the local copy of a remote clip; do nothing for other clips."""
    if isinstance(clip, RemoteClip):
        clip.release()


class RemoteClips(list[RemoteClip]):
    """The clips of a remote folder, with the private folder of their copies, which is deleted with this list."""

    def __init__(self, url: str) -> None:
        """Find the clips below a URL by their suffix, in path order, without soundtracks, hidden files and features.

        Raises:
            UsageError: the URL cannot be opened, or there is no clip.
            WorkError: the folder cannot be listed.
        """
        folder = RemoteFolder.at(url)
        names = list(clip_names(folder.names()))
        if not names:
            raise UsageError(f"--video_dir {url}: no clip in it; {EMPTY_DATA_HINT}")
        self._copies = tempfile.TemporaryDirectory(prefix="multi-ffdv-")
        root = Path(self._copies.name)
        super().__init__(
            RemoteClip(folder, name, root / f"{number}{PurePosixPath(name).suffix}")
            for number, name in enumerate(names)
        )


def clip_names(names: list[str]) -> Iterator[str]:
    """Yield the names of clips, as `engine.clip_search.search_folder` finds them."""
    left_out = soundtracks(names)
    paths = {name: PurePosixPath(name) for name in names}
    # As in a local search, the searched folder itself may be one of extracted features.
    features = {path.parent for path in paths.values() if path.name == FEATURES_FILE} - {PurePosixPath()}
    for name, path in paths.items():
        is_hidden = any(part.startswith(".") for part in path.parts)
        is_clip = path.suffix.lower() in CLIP_SUFFIXES and name not in left_out and not is_hidden
        if is_clip and features.isdisjoint(path.parents):
            yield name
