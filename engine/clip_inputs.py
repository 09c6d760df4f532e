"""Clips to score as given on the command line: files, glob patterns, a folder, a list of names, or a watched folder."""

from __future__ import annotations

import argparse
import glob
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.clip_search import check_clip, find_videos, mode_of, walk_folder
from engine.remote_clips import NamedClip, RemoteClips
from utils.errors import UsageError, WorkError
from utils.files import existing_file, short_path
from utils.media.complete import is_cut_short
from utils.remote import is_url

STANDARD_INPUT = "-"

POLL_EVERY_S = 2.0
"""Interval between two checks of a watched folder, in seconds."""

STALLED_S = 60.0
"""Time in seconds after which an unchanged clip that is cut short is scored as it is."""

State = tuple[int, int]
"""Size in bytes and time of modification in nanoseconds."""


class ClipRounds(Iterable[Iterable[NamedClip]]):
    """Clips in rounds; a round is scored before the next one is read.

    A round is a list, or an iterator over names that are still being read.

    Attributes:
        opening: what to tell the user before rounds that do not end; empty for rounds that end.
    """

    opening = ""


class OneRound(ClipRounds):
    """Clips that are all known, or named by one stream."""

    def __init__(self, clips: Iterable[NamedClip]) -> None:
        """Use these clips."""
        self._clips = clips

    def __iter__(self) -> Iterator[Iterable[NamedClip]]:
        """Return an iterator over the only round."""
        return iter((self._clips,))


@dataclass(frozen=True)
class ClipArguments:
    """The input options of `inference.py`; exactly one is given.

    Attributes:
        video_path: files, glob patterns, or `-` for names on standard input.
        video_dir: folder to search, or its URL.
        video_list: text file with one name per line.
        watch: folder whose clips are scored as they arrive.
    """

    video_path: list[str] | None = None
    video_dir: str | None = None
    video_list: str | None = None
    watch: str | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> ClipArguments:
        """Return the input options of a command line."""
        return cls(arguments.video_path, arguments.video_dir, arguments.video_list, arguments.watch)

    def named_files(self, *more: str | None) -> Iterator[Path]:
        """Yield the files named on the command line, and further ones. They need not exist."""
        yield from (Path(name) for name in (self.video_list, *more) if name is not None)
        for value in self.video_path or []:
            yield Path(value)
            yield from map(Path, glob.iglob(value, recursive=True) if glob.has_magic(value) else ())

    def rounds(self) -> ClipRounds:
        """Return the clips in rounds.

        Raises:
            UsageError: a given path does not exist or is of another kind, or there is no clip.
        """
        if self.watch is not None:
            return FolderWatch(Path(self.watch))
        if is_url(self.video_dir):
            return OneRound(RemoteClips(str(self.video_dir)))
        if self.video_dir is not None:
            return OneRound(find_videos(Path(self.video_dir)))
        if self.video_list is not None:
            return OneRound(listed_clips(existing_or_pipe(self.video_list)))
        values = self.video_path or []
        if values == [STANDARD_INPUT]:
            return OneRound(names_in(sys.stdin.buffer))
        if STANDARD_INPUT in values:
            raise UsageError("--video_path -: names on standard input cannot be combined with other values")
        return OneRound([clip for value in values for clip in matching_clips(value)])

    def single(self) -> ClipRounds:
        """Return one round with one clip.

        Raises:
            UsageError: see `rounds`; or there is not exactly one clip.
        """
        if self.video_path is None or self.video_path == [STANDARD_INPUT]:
            raise UsageError("--render needs one clip, given with --video_path")
        clips = [clip for found in self.rounds() for clip in found]
        if len(clips) != 1:
            raise UsageError(f"--render needs one clip, but --video_path names {len(clips)}")
        return OneRound(clips)


def matching_clips(value: str) -> list[Path]:
    """Return the file with this name, else the files that match it as a glob pattern (`**`: sub-folders too), sorted.

    Raises:
        UsageError: see `check_clip`; or no file matches.
    """
    path = Path(value)
    if not glob.has_magic(value) or mode_of(path):
        return [check_clip(value)]
    found = sorted(match for name in glob.iglob(value, recursive=True) if (match := Path(name)).is_file())
    if not found:
        raise UsageError(f"--video_path {value}: no file matches")
    return found


def existing_or_pipe(value: str) -> Path:
    """Return the path of a list, which may be a named pipe.

    Raises:
        UsageError: it does not exist or is a folder.
    """
    path = Path(value)
    return path if path.is_fifo() or path.is_char_device() else existing_file(path, "--video_list")


def listed_clips(path: Path) -> Iterable[NamedClip]:
    """Return the clips named in a list; for a pipe, an iterator.

    Raises:
        UsageError: the list cannot be read or is empty.
    """
    try:
        stream = open(path, "rb")  # noqa: SIM115  (closed by `names_in`)
    except OSError as error:
        raise UsageError(f"--video_list cannot be read: {path} ({error.strerror})") from None
    if not path.is_file():
        return names_in(stream)
    clips = list(names_in(stream))
    if not clips:
        raise UsageError(f"--video_list {path}: no name in it")
    return clips


def names_in(stream: BinaryIO) -> Iterator[NamedClip]:
    """Yield the names in a stream, one per line, in the encoding of file names. Blank lines are skipped.

    A name need not exist: its row has the reason `missing_file`. A URL is not opened and has that row, too.

    Raises:
        UsageError: the stream is not text.
    """
    with stream:
        for number, line in enumerate(stream):
            if b"\0" in line:
                raise UsageError(f"{stream.name}: not a list of names but a binary file")
            name = line.removeprefix(b"\xef\xbb\xbf" if number == 0 else b"").rstrip(b"\r\n")
            if name.strip():
                clip = os.fsdecode(name)
                yield clip if is_url(clip) else Path(clip)


class FolderWatch(ClipRounds):
    """Endless rounds of clips that have arrived in a folder or its sub-folders, starting with those already there.

    A clip is complete if it is not empty and its size and time of modification are the same at two consecutive checks. If its
    container declares more bytes than it has, they must stay the same for `STALLED_S`. A clip that changes after that is
    yielded again.
    """

    def __init__(self, folder: Path) -> None:
        """Watch a folder.

        Raises:
            UsageError: it is not a folder.
        """
        if not folder.is_dir():
            raise UsageError(f"--watch {'is a file, not a folder' if folder.exists() else 'does not exist'}: {folder}")
        self.folder = folder
        self.opening = f"watching {short_path(folder)}: clips are scored as they arrive; Ctrl-C ends the run"
        self._seen: dict[Path, State] = {}
        self._since: dict[Path, float] = {}  # time of the check that found the clip in its state
        self._complete: dict[Path, State] = {}

    def __iter__(self) -> Iterator[list[Path]]:
        """Iterate until interrupted.

        Raises:
            WorkError: the folder has been removed.
        """
        while True:
            if ready := self.poll():
                yield ready
            time.sleep(POLL_EVERY_S)

    def poll(self) -> list[Path]:
        """Return the clips that have become complete since the last check, in path order.

        Raises:
            WorkError: the folder has been removed.
        """
        if not self.folder.is_dir():
            raise WorkError(f"--watch: the folder no longer exists: {self.folder}")
        time_s = time.monotonic()
        now = {path: state for path in walk_folder(self.folder).clips if (state := state_of(path)) is not None}
        unchanged = {path for path, state in now.items() if self._seen.get(path) == state}
        self._since = {path: self._since[path] if path in unchanged else time_s for path in now}
        ready = [
            path
            for path, state in now.items()
            if path in unchanged
            and self._complete.get(path) != state
            and (time_s - self._since[path] >= STALLED_S or not is_cut_short(path))
        ]
        self._seen = now
        self._complete = {path: state for path, state in self._complete.items() if path in now}
        self._complete |= {path: now[path] for path in ready}
        return ready


def state_of(path: Path) -> State | None:
    """Return the state of a file; `None` if the file is empty or cannot be queried."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status.st_size else None
