"""Queue of the clips to score. Clips with a row in an existing output file are skipped."""

from __future__ import annotations

import sys
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.remote_clips import NamedClip, release
from engine.score_rows import Row, read_rows, written_key
from utils.errors import UsageError
from utils.files import short_path

NO_VIDEO = "no_video"
"""Reason code of clips without video."""

SCORED_AGAIN = "missing_file"
"""Reason code of rows that are scored again on resumption, because the file may have arrived."""


@dataclass
class ScoreCounts:
    """Summary of scored clips.

    Attributes:
        verdicts: verdict -> number of clips; `pending` clips are not counted.
        audio_only: number of clips that were scored by their audio alone.
        kept: number of clips whose row was taken from an existing output file.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    audio_only: int = 0
    kept: int = 0

    def add(self, verdict: str, *, audio_only: bool) -> None:
        """Count a clip."""
        self.verdicts[verdict] += 1
        self.audio_only += audio_only

    @property
    def clips(self) -> int:
        """Number of clips with a row."""
        return self.verdicts.total()

    @property
    def scored(self) -> int:
        """Number of clips with a score."""
        return self.clips - self.verdicts["unscored"]

    def __str__(self) -> str:
        """Return for example `5 clips, 4 scored, 2 kept`."""
        kept = f", {self.kept} kept" if self.kept else ""
        return f"{self.clips} clip{'s' * (self.clips != 1)}, {self.scored} scored{kept}"


def is_audio_only(row: Row) -> bool:
    """Return whether a clip was scored by its audio alone."""
    return row["score"] is not None and NO_VIDEO in str(row["reason"]).split("+")


@dataclass(frozen=True)
class KeptRow:
    """Facts about a row in the output file; `number` is its index."""

    verdict: str
    audio_only: bool
    number: int


class KeptRows:
    """Rows of an existing output file that need not be scored again. Iterate once to read them, then call `take`."""

    def __init__(self, path: Path | None, columns: Sequence[str], checkpoint: str) -> None:
        """Use the rows of an output file, if it exists; `None` for no file."""
        self._path = path if path is not None and path.exists() else None
        self._columns = columns
        self._checkpoint = checkpoint
        self._rows: dict[str, deque[KeptRow]] = {}

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows to keep.

        Raises:
            UsageError: the file is damaged, or has other columns or scores of another checkpoint.
        """
        if self._path is None:
            return
        number = 0
        for row in read_rows(self._path, self._columns):
            if row["checkpoint"] != self._checkpoint:
                raise UsageError(
                    f"--resume: {short_path(self._path)} has scores of another checkpoint ({row['checkpoint']} instead of "
                    f"{self._checkpoint}); use that checkpoint, or another --output"
                )
            if row["status"] != "pending" and row["reason"] != SCORED_AGAIN:
                kept = KeptRow(sys.intern(str(row["verdict"])), is_audio_only(row), number)
                self._rows.setdefault(written_key(str(row["video"])), deque()).append(kept)
                number += 1
                yield row

    def take(self, name: str) -> KeptRow | None:
        """Remove and return a clip's first row; `None` if there is none."""
        rows = self._rows.get(written_key(name))
        return rows.popleft() if rows else None


class ScoreQueue:
    """Clips that need a score, in order."""

    def __init__(self, kept: KeptRows, counts: ScoreCounts) -> None:
        """Skip clips with a kept row and count them in `counts`."""
        self._order = array("q")  # for each clip so far, the number of its row in the output file; -1 until it has one
        self._kept = kept
        self._counts = counts
        self._clips: Iterator[NamedClip] = iter(())
        self._clip_count: int | None = None
        self._unscored: deque[tuple[NamedClip, int]] = deque()

    def fill(self, clips: Iterable[NamedClip]) -> ScoreQueue:
        """Add clips, read lazily, and return the queue."""
        self._clips = iter(clips)
        self._clip_count = len(clips) if isinstance(clips, Sequence) else None
        return self

    def __length_hint__(self) -> int:
        """Return the number of clips, or `NotImplemented` if it is not known. Kept rows are not subtracted."""
        return NotImplemented if self._clip_count is None else self._clip_count

    def __iter__(self) -> Iterator[NamedClip]:
        """Iterate over the clips to score."""
        for clip in self._clips:
            kept = self._kept.take(str(clip))
            if kept is not None:
                self._order.append(kept.number)
                self._counts.add(kept.verdict, audio_only=kept.audio_only)
                self._counts.kept += 1
                continue
            self._unscored.append((clip, len(self._order)))
            self._order.append(-1)
            yield clip

    def has_row(self, number: int) -> None:
        """Record the row number of the first clip that has none."""
        clip, place = self._unscored.popleft()
        release(clip)
        self._order[place] = number

    def without_row(self) -> Iterator[NamedClip]:
        """Yield the clips without a row. Call `has_row` after each. Does not wait for further names."""
        while self._unscored:
            yield self._unscored[0][0]
        if self._clip_count is not None:
            yield from self

    def finished_order(self) -> Sequence[int]:
        """Return the row numbers of the clips so far, in the order of the clips."""
        return array("q", (number for number in self._order if number >= 0))
