"""Search for clips: a single file, or all clips of a folder tree, with a summary of the files that were left out."""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from engine.config import EMPTY_DATA_HINT
from utils.errors import UsageError
from utils.media.suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES

log = logging.getLogger(__name__)

CLIP_SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES
"""Suffixes by which clips are found in a folder. A file named on the command line may have any suffix."""

FEATURES_FILE = "features.json"
"""File that marks a folder of extracted features; the audio files in it are not clips."""

MAX_NAMED = 3
"""Maximum number of names per kind in the summary; the rest are only counted."""


@dataclass
class ClipSearch:
    """Result of the search through a folder.

    Attributes:
        suffixes: lower-case suffixes of clips.
        clips: the clips in path order. A symbolic link to a missing file with a clip's suffix counts as a clip.
        other_suffixes: lower-case suffix, or `none` -> number of files left out because of it.
        special: named pipes, sockets and devices; they are never opened.
        unreadable: folders that could not be listed.
        repeated: links to folders that had already been searched under another path.
        hidden: number of hidden folders and hidden clips.
        soundtracks: audio files with the name of a video in the same folder, apart from the suffix.
        features: folders of extracted features.
    """

    suffixes: frozenset[str]
    clips: list[Path] = field(default_factory=list)
    other_suffixes: Counter[str] = field(default_factory=Counter)
    special: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    repeated: list[Path] = field(default_factory=list)
    hidden: int = 0
    soundtracks: list[Path] = field(default_factory=list)
    features: list[Path] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """One line that counts and names the files left out; empty if there are none."""
        others = [suffix for suffix, _ in self.other_suffixes.most_common()]
        parts = [
            counted(self.other_suffixes.total(), "file with another suffix", "files with other suffixes", others),
            counted(len(self.unreadable), "unreadable folder", "unreadable folders", self.unreadable),
            counted(len(self.special), "named pipe, socket or device", "named pipes, sockets or devices", self.special),
            counted(len(self.repeated), "link to a folder", "links to folders", self.repeated, " already searched"),
            counted(self.hidden, "hidden entry", "hidden entries", []),
            counted(len(self.soundtracks), "audio file", "audio files", self.soundtracks, " named like a video"),
            counted(len(self.features), "folder of features", "folders of features", self.features),
        ]
        left_out = ", ".join(part for part in parts if part)
        return f"left out: {left_out}" if left_out else ""


def counted(count: int, one: str, many: str, names: list, more: str = "") -> str:
    """Return a count with the first names, or an empty string if the count is 0."""
    if not count:
        return ""
    named = ", ".join(map(str, names[:MAX_NAMED])) + (", ..." if len(names) > MAX_NAMED else "")
    return f"{count} {one if count == 1 else many}{more}" + (f" ({named})" if named else "")


def find_videos(folder: Path, *, audio: bool = True) -> list[Path]:
    """Return all clips below a folder in path order, and log what was left out.

    Args:
        folder: the folder.
        audio: whether audio files are clips.

    Raises:
        UsageError: see `search_folder`.
    """
    found = search_folder(folder, CLIP_SUFFIXES if audio else VIDEO_SUFFIXES)
    if found.summary:
        log.warning("%s: %s", folder, found.summary)
    return found.clips


def search_folder(folder: Path, suffixes: frozenset[str] = CLIP_SUFFIXES) -> ClipSearch:
    """Find all clips below a folder by their suffix.

    Audio files are clips, except those named like a video in the same folder, which are its soundtrack, and those in folders
    of extracted features.

    Raises:
        UsageError: `folder` is not a folder, or there is no clip in it.
    """
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"--video_dir {problem}: {folder}")
    found = walk_folder(folder, suffixes)
    if not found.clips:
        why = f" ({found.summary})" if found.summary else ""
        raise UsageError(f"--video_dir {folder}: no clip in it{why}; {EMPTY_DATA_HINT}")
    return found


def walk_folder(folder: Path, suffixes: frozenset[str] = CLIP_SUFFIXES) -> ClipSearch:
    """Find all clips below a folder, which may have none.

    Real folders are searched first, then links to folders. Each folder is searched once, so circular links end.
    """
    found = ClipSearch(suffixes)
    searched: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        links: list[Path] = []
        for start in waiting:
            if not search_tree(start, found, searched, links) and start != folder:
                found.repeated.append(start)
        waiting = sorted(links)
    found.clips.sort()
    return found


def search_tree(folder: Path, found: ClipSearch, searched: set[tuple[int, int]], links: list[Path]) -> bool:
    """Add the entries of a folder and of its real sub-folders to `found`, and links to folders to `links`.

    Returns:
        False if the folder has been searched before.
    """
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            status = current.stat()
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError:
            found.unreadable.append(current)
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in searched:
            if current == folder:
                return False
            continue
        searched.add(identity)
        if current != folder and any(entry.name == FEATURES_FILE for entry in entries):
            found.features.append(current)
            continue
        leave_out_soundtracks(current, entries, found)
        pending += [child for entry in entries if (child := add_entry(current, entry, found, links)) is not None]
    return True


def leave_out_soundtracks(folder: Path, entries: list[os.DirEntry], found: ClipSearch) -> None:
    """Remove the audio files that are named like a video in the same folder from `entries`."""
    audio = soundtracks([entry.name for entry in entries])
    for entry in list(entries):
        if entry.name in audio and not entry.name.startswith("."):
            found.soundtracks.append(folder / entry.name)
            entries.remove(entry)


def soundtracks(names: Sequence[str]) -> set[str]:
    """Return the audio files among file names that are named like a video in the same folder."""
    paths = {name: PurePosixPath(name) for name in names}
    videos = {path.parent / path.stem for path in paths.values() if path.suffix.lower() in VIDEO_SUFFIXES}
    audio_only = AUDIO_SUFFIXES - VIDEO_SUFFIXES
    return {
        name for name, path in paths.items() if path.suffix.lower() in audio_only and path.parent / path.stem in videos
    }


def add_entry(folder: Path, entry: os.DirEntry, found: ClipSearch, links: list[Path]) -> Path | None:
    """Classify an entry of a folder; return its path if it is a real sub-folder to search, else `None`."""
    path = folder / entry.name
    suffix = path.suffix.lower()
    kind = mode_of(path)
    if entry.name.startswith("."):
        found.hidden += stat.S_ISDIR(kind) or suffix in found.suffixes
    elif stat.S_ISDIR(kind):
        if not entry.is_symlink():
            return path
        links.append(path)
    elif kind and not stat.S_ISREG(kind):
        found.special.append(path)
    elif suffix in found.suffixes:
        found.clips.append(path)
    else:
        found.other_suffixes[suffix or "none"] += 1
    return None


def mode_of(path: Path) -> int:
    """Return the mode bits of the file at a path, following links; 0 if it does not exist or cannot be queried."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def check_clip(name: str | Path) -> Path:
    """Return the path of a single clip, whatever its suffix. Messages have its name as given.

    Raises:
        UsageError: it does not exist or is not a regular file. Special files are not opened.
    """
    path = Path(name)
    mode = mode_of(path)
    if stat.S_ISREG(mode):
        return path
    if not mode:
        raise UsageError(f"--video_path does not exist: {name}")
    kind = "a folder" if stat.S_ISDIR(mode) else "a named pipe" if stat.S_ISFIFO(mode) else "a socket or device"
    raise UsageError(f"--video_path is not a file but {kind}: {name}")
