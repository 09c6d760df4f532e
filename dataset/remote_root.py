"""A data root at a URL. Its clips are copied to a local folder one by one, and the features are uploaded at the end."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dataset.labels import twin_of
from dataset.splits import Split
from utils.remote import RemoteFolder, is_url


class DataRoot:
    """A local data root.

    Attributes:
        folder: its folder.
    """

    def __init__(self, folder: Path) -> None:
        """Use a folder."""
        self.folder = folder

    @contextlib.contextmanager
    def opened(self, split: Split) -> Iterator[Split]:
        """Yield a split of this root to extract."""
        yield split


class RemoteRoot(DataRoot):
    """A local copy of a data root at a URL, with the label files; clips follow when they are needed."""

    def __init__(self, folder: Path, url: str, labels: Iterable[str]) -> None:
        """Copy the label files.

        Raises:
            UsageError: the URL cannot be opened.
            WorkError: a label file cannot be read.
        """
        super().__init__(folder)
        self.remote = RemoteFolder.at(url)
        for name in labels:
            for twin in {name, twin_of(Path(name)).as_posix()}:
                with contextlib.suppress(FileNotFoundError):
                    self.remote.download(twin, folder / twin)

    @contextlib.contextmanager
    def opened(self, split: Split) -> Iterator[Split]:
        """Yield a split whose clips are fetched on use, and upload its new features, also after an error or Ctrl-C.

        Raises:
            WorkError: the folder of features cannot be read or written.
        """
        if not split.videos.is_relative_to(self.folder):  # an absolute path in data.video_dir
            yield split
            return
        store = split.store.root
        features = RemoteFolder.at(f"{self.remote.url}/{store.name}")
        before = stage_features(features, store)
        clips = RemoteFolder.at(f"{self.remote.url}/{split.videos.relative_to(self.folder).as_posix()}")
        try:
            yield RemoteSplit(split.name, split.labels, split.videos, split.store, clips)
        finally:
            upload_changes(features, store, before)


@dataclass(frozen=True)
class RemoteSplit(Split):
    """A split whose clips are fetched when their path is needed.

    Attributes:
        clips: the remote folder of the clips.
    """

    clips: RemoteFolder

    def video_path(self, clip: str) -> Path:
        """Copy a clip and return the path of the copy, which does not exist if the clip cannot be read."""
        path = super().video_path(clip)
        self.clips.fetch(clip, path)
        return path

    def release(self, clip: str) -> None:
        """Delete the copy of a clip."""
        super().video_path(clip).unlink(missing_ok=True)


@contextlib.contextmanager
def open_root(location: str, labels: Iterable[str]) -> Iterator[DataRoot]:
    """Yield the data root at a path or URL; a URL's local copy is private and deleted at the end.

    Args:
        location: `extract_path` of a config.
        labels: names of the label files of all splits.

    Raises:
        UsageError: the URL cannot be opened.
        WorkError: a label file cannot be read.
    """
    if not is_url(location):
        yield DataRoot(Path(location))
        return
    with tempfile.TemporaryDirectory(prefix="multi-ffdv-") as folder:
        yield RemoteRoot(Path(folder), location, labels)


def stage_features(remote: RemoteFolder, folder: Path) -> dict[str, tuple[int, int]]:
    """Copy tables and settings of a folder of features, and create empty files in place of the features themselves.

    Returns:
        The state of each local file by its name.
    """
    before = {}
    for name in remote.names():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if "/" in name:
            path.touch()
        else:
            remote.download(name, path)
        before[name] = state(path)
    return before


def upload_changes(remote: RemoteFolder, folder: Path, before: dict[str, tuple[int, int]]) -> None:
    """Upload the files that have changed, the tables of rows last, and delete remote files that are gone.

    Raises:
        WorkError: the folder cannot be written.
    """
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    changed = [name for name, path in files.items() if before.get(name) != state(path)]
    for name in sorted(changed, key=lambda name: (name.startswith("extraction"), name)):
        remote.upload(files[name], name)
    for name in before.keys() - files.keys():
        remote.remove(name)


def state(path: Path) -> tuple[int, int]:
    """Return size and time of modification of a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns
