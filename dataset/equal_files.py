"""Search for files with identical content in two sets, without reading most of them completely."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path

from utils.files import file_sha256

PROBE_BYTES = 4096

Sides = tuple[Mapping[str, Path], Mapping[str, Path]]


def equal_files(left: Mapping[str, Path], right: Mapping[str, Path]) -> list[tuple[str, str]]:
    """Return pairs (left name, right name) of files with identical content. Missing files are ignored.

    Files are filtered in three steps: by size, by a hash of 4 KiB at the start and 4 KiB in the middle, and by the SHA-256 of
    the whole file. Only files that pass the first two steps, and are thus almost certainly equal, are read completely.
    """
    sides: Sides = (left, right)
    for key in (file_size, probe):
        sides = sharing(sides, key)
    by_hash = group_by(sides[0], file_sha256)
    matches = {name: by_hash.get(file_sha256(path), []) for name, path in sides[1].items()}
    return sorted((mine, theirs) for theirs, found in matches.items() for mine in found)


def sharing(sides: Sides, key: Callable[[Path], Hashable | None]) -> Sides:
    """Return the files whose key occurs on both sides."""
    keys = tuple({name: key(path) for name, path in side.items()} for side in sides)
    common = (set(keys[0].values()) & set(keys[1].values())) - {None}
    first, second = (
        {name: side[name] for name in side if of[name] in common} for side, of in zip(sides, keys, strict=True)
    )
    return first, second


def group_by(side: Mapping[str, Path], key: Callable[[Path], Hashable]) -> dict[Hashable, list[str]]:
    """Group file names by the key of the file."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for name, path in side.items():
        groups[key(path)].append(name)
    return groups


def file_size(path: Path) -> int | None:
    """Return the file size in bytes; `None` for an empty or missing file."""
    try:
        return os.stat(path).st_size or None
    except OSError:
        return None


def probe(path: Path) -> bytes | None:
    """Return a hash of size, start and middle of a file; `None` if it is unreadable."""
    try:
        with open(path, "rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=16)
            for position in (0, size // 2):
                stream.seek(position)
                digest.update(stream.read(PROBE_BYTES))
            return digest.digest()
    except OSError:
        return None
