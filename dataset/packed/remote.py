"""Packs at URLs: written there after packing, and copied to a local cache before training."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from dataset.labels import twin_of
from dataset.packed.index import FOLDER, INDEX_NAME, PackIndex, read_index
from dataset.packed.read import VERIFIED
from dataset.splits import Split
from utils.errors import UsageError
from utils.files import LOCK_NAME, locked, user_cache_folder, writing
from utils.remote import RemoteFolder

log = logging.getLogger(__name__)


def upload_pack(split: Split, url: str) -> None:
    """Upload the pack and the label file of a split to a data root at a URL, then delete the files of older packs there.

    Files that are there already are skipped. `index.json` is replaced after the other files, so a pack there is complete.

    Raises:
        UsageError: the URL cannot be opened, or the split has no pack.
        WorkError: the URL cannot be listed or written.
    """
    root, folder = RemoteFolder.at(url), split.store.root / FOLDER
    remote = RemoteFolder.at(f"{root.url}/{split.store.root.name}/{FOLDER}")
    index = read_index(folder)
    if index is None:
        raise UsageError(f"{folder} has no packed features")
    there = remote.sizes()
    for file in index.files.values():
        if there.get(file.name) != file.size:
            log.info("uploading %s/%s (%.1f MB)", remote.url, file.name, file.size / 1e6)
            remote.upload(folder / file.name, file.name)
    if split.labels.is_relative_to(split.store.root.parent):
        root.upload(split.labels, split.labels.relative_to(split.store.root.parent).as_posix())
    remote.upload(folder / INDEX_NAME, INDEX_NAME)
    for name in there.keys() - {file.name for file in index.files.values()} - {INDEX_NAME}:
        remote.remove(name)


def fetch_packs(url: str, labels: Mapping[str, str], raw_suffix: str) -> Path:
    """Copy packs from a data root at a URL to the cache, and return the local data root. Files that are there are kept.

    Args:
        url: the data root.
        labels: name of the label file of each split to copy. A split without a label file is skipped.
        raw_suffix: `data.raw_suffix` of the config.

    Raises:
        UsageError: the URL cannot be opened, or has no pack of a split.
        WorkError: a file cannot be copied.
    """
    remote, root = RemoteFolder.at(url), cache_folder(url)
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
    with locked(root), writing(root):
        for split, name in labels.items():
            if fetch_labels(remote, root, name):
                fetch_pack(
                    RemoteFolder.at(f"{remote.url}/{split}{raw_suffix}/{FOLDER}"),
                    root / f"{split}{raw_suffix}" / FOLDER,
                )
    return root


def cache_folder(url: str) -> Path:
    """Return the local folder for the packs at a URL, see `user_cache_folder`."""
    return user_cache_folder() / "multi-ffdv" / "packs" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


def fetch_labels(remote: RemoteFolder, root: Path, name: str) -> bool:
    """Copy a label file, `.txt` or `.csv`, and return whether there is one."""
    found = False
    for twin in {name, twin_of(Path(name)).as_posix()}:
        try:
            remote.download(twin, root / twin)
            found = True
        except FileNotFoundError:
            (root / twin).unlink(missing_ok=True)
    return found


def fetch_pack(remote: RemoteFolder, folder: Path) -> None:
    """Copy a pack whose files are not all in a local folder, and delete the files of older packs.

    Raises:
        UsageError: there is no pack, or its index is damaged.
        WorkError: a file cannot be copied.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder) as incoming:
        index = fetch_index(remote, Path(incoming))
        missing = [file for file in index.files.values() if not has_size(folder / file.name, file.size)]
        for file in tqdm(missing, desc=f"copying {remote.url}", unit="file", dynamic_ncols=True) if missing else ():
            try:
                remote.download(file.name, folder / file.name)
            except FileNotFoundError:
                raise UsageError(f"{remote.url}/{file.name} is missing; upload the pack again") from None
        os.replace(Path(incoming) / INDEX_NAME, folder / INDEX_NAME)
    kept = {file.name for file in index.files.values()} | {INDEX_NAME, VERIFIED, LOCK_NAME}
    for path in folder.iterdir():
        if path.name not in kept and path.is_file():
            path.unlink(missing_ok=True)


def has_size(path: Path, size: int) -> bool:
    """Return whether a file exists and has this size. The names of packed files identify their content."""
    return path.is_file() and path.stat().st_size == size


def fetch_index(remote: RemoteFolder, folder: Path) -> PackIndex:
    """Copy the index of a pack and read it.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    index = None
    with contextlib.suppress(FileNotFoundError):
        remote.download(INDEX_NAME, folder / INDEX_NAME)
        index = read_index(folder)
    if index is None:
        raise UsageError(f"{remote.url} has no pack; write one with `python utils/pack_features.py --upload`")
    return index
