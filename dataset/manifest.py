"""`extraction.csv`, the extraction result of each labelled clip, and the journal that preserves rows if a run is killed."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UsageError
from utils.features.clip import ClipFacts
from utils.files import atomic_path

COLUMNS = ["video_name", "status", "reason", "duration_s", "n_frames", "fps", "has_audio", "seconds"]
DONE = ("ok", "partial")
JOURNAL_SUFFIX = ".journal"


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, counted from 1: every `count`-th clip of the label file."""

    index: int = 1
    count: int = 1

    @property
    def manifest_name(self) -> str:
        """`extraction.csv`, or `extraction.I-of-N.csv` for a part."""
        return "extraction.csv" if self.count == 1 else f"extraction.{self.index}-of-{self.count}.csv"

    def select(self, names: list[str]) -> list[str]:
        """Return the names that belong to this part."""
        return names[self.index - 1 :: self.count]


WHOLE = Shard()
"""All clips of the label file."""


@dataclass(frozen=True)
class Row:
    """A clip's facts and the duration of its extraction in seconds."""

    facts: ClipFacts
    seconds: float = 0.0

    def cells(self, name: str) -> list:
        """Return the row as the cells of `COLUMNS`."""
        facts = self.facts
        return [
            name,
            facts.status,
            facts.reason,
            f"{facts.duration_s:.3f}",
            facts.n_frames,
            f"{facts.fps:.3f}",
            int(facts.has_audio),
            f"{self.seconds:.3f}",
        ]


PENDING = Row(ClipFacts(status="pending"))


def read_rows(folder: Path) -> dict[str, Row]:
    """Read all rows in a split's folder: manifest, shard manifests and leftover journals.

    A finished row replaces a pending one. Of two finished rows, the journal's takes precedence.
    """
    rows: dict[str, Row] = {}
    for path in manifest_files(folder):
        for name, row in read_manifest(path).items():
            if row.facts.status != "pending" or name not in rows:
                rows[name] = row
    return rows


def manifest_files(folder: Path) -> list[Path]:
    """List the split's manifests, then its journals."""
    return sorted(folder.glob("extraction*.csv")) + sorted(folder.glob(f"extraction*{JOURNAL_SUFFIX}"))


def read_manifest(path: Path) -> dict[str, Row]:
    """Read the rows of a manifest or journal. Header and incomplete last lines are skipped."""
    rows = {}
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as stream:
            for cells in csv.reader(stream):
                try:
                    name, status, reason, duration_s, n_frames, fps, has_audio, seconds = cells
                    facts = ClipFacts(status, reason, float(duration_s), int(n_frames), float(fps), has_audio == "1")
                    rows[name] = Row(facts, float(seconds))
                except ValueError:
                    # This is the header or a truncated line, which lacks numbers in the last columns.
                    continue
    except FileNotFoundError:
        # Another shard may have merged and deleted the file after it was listed.
        return {}
    except csv.Error as error:
        raise UsageError(f"{path} is damaged ({error}); delete it to extract its clips again") from None
    return rows


def write_manifest(path: Path, names: Iterable[str], rows: Mapping[str, Row]) -> None:
    """Write one row per name, atomically; a name without a row is `pending`."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows.get(name, PENDING).cells(name) for name in names)


def append_to_journal(path: Path, name: str, row: Row) -> None:
    """Append one row in a single write, which is atomic when several processes append to one file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row.cells(name))
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(handle, text.getvalue().encode("utf-8"))
    finally:
        os.close(handle)
