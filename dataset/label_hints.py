"""Hints for names in a label file that match no clip but are similar to the name of one."""

from __future__ import annotations

import contextlib
import logging
import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from utils.features.store import files_below

log = logging.getLogger(__name__)

EXAMPLES = 1000
"""Maximum number of missing clips to examine."""

LISTED_FROM = 1000
"""Number of names from which the folder of the clips is listed."""


def log_name_hints(names: Sequence[str], folder: Path, labels: Path) -> None:
    """Warn about names that match no clip but are similar to the name of one, one line per kind of difference."""
    for hint in name_hints(names, folder):
        log.warning("%s: %s", labels, hint)


def name_hints(names: Sequence[str], folder: Path) -> list[str]:
    """Return one sentence per kind of misspelling among the names that match no clip.

    Args:
        names: clip names of a label file, relative to `folder`.
        folder: the folder of the clips; if it is missing, there are no hints.
    """
    if not folder.is_dir():
        return []
    missing = missing_names(names, folder)
    listings = FolderListings(folder)
    found: dict[str, list[tuple[str, str]]] = {}
    for name in missing[:EXAMPLES]:
        for kind, match in KINDS.items():
            if suggestion := match(name, listings):
                found.setdefault(kind, []).append((name, suggestion))
                break
    more = "at least " if len(missing) > EXAMPLES else ""
    return [
        f"{more}{len(pairs)} of {len(names)} names match no clip because they {kind}: "
        f"{pairs[0][0]!r}, did you mean {pairs[0][1]!r}?"
        for kind, pairs in found.items()
    ]


def missing_names(names: Sequence[str], folder: Path) -> list[str]:
    """Return the names without a file below a folder. One listing replaces most look-ups if there are many names."""
    if len(names) >= LISTED_FROM:
        with contextlib.suppress(OSError):
            listed = set(files_below(folder))
            names = [name for name in names if name not in listed]
    return [name for name in names if not os.path.lexists(folder / name)]


class FolderListings:
    """File names of sub-folders, listed once and indexed by a normal form of the name."""

    def __init__(self, root: Path) -> None:
        """List folders below `root`."""
        self._root = root
        self._indices: dict[tuple[str, Callable[[str], str]], dict[str, str]] = {}

    def find(self, name: str, form: Callable[[str], str]) -> str | None:
        """Return the clip in the folder of `name` whose file name has the same normal form as that of `name`.

        Args:
            name: a clip's name relative to the root, with slashes.
            form: the normal form; see the functions below.
        """
        parent, _, base = name.rpartition("/")
        index = self._indices.get((parent, form))
        if index is None:
            try:
                found = sorted(os.listdir(self._root / parent), reverse=True)
            except OSError:
                found = []
            index = self._indices[parent, form] = {form(other): other for other in found}
        match = index.get(base if form is stem else form(base))
        return match if match is None or not parent else f"{parent}/{match}"


def stem(name: str) -> str:
    """Return a file name without its suffix."""
    return Path(name).stem


def composed(name: str) -> str:
    """Return a file name in Unicode normal form C."""
    return unicodedata.normalize("NFC", name)


def with_slashes(name: str, listings: FolderListings) -> str | None:
    """Return the clip whose name has slashes instead of backslashes."""
    return listings.find(name.replace("\\", "/"), str) if "\\" in name else None


def with_other_normalisation(name: str, listings: FolderListings) -> str | None:
    """Return the clip whose name differs only in Unicode normalisation."""
    return listings.find(name, composed)


def with_suffix(name: str, listings: FolderListings) -> str | None:
    """Return the clip whose name without its suffix equals `name`."""
    return listings.find(name, stem)


def with_other_case(name: str, listings: FolderListings) -> str | None:
    """Return the clip whose name differs only in upper and lower case."""
    return listings.find(name, str.casefold)


KINDS: dict[str, Callable[[str, FolderListings], str | None]] = {
    "use backslashes": with_slashes,
    "differ only in Unicode normalisation": with_other_normalisation,
    "have no suffix": with_suffix,
    "differ only in upper and lower case": with_other_case,
}
"""Description of a difference -> function that finds the clip; tried in this order."""
