"""`extraction.csv`, the extraction result of each labelled clip, and the journal that preserves rows if a run is killed."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.errors import UsageError
from utils.features.clip import ClipFacts
from utils.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["video_name", "status", "reason", "duration_s", "n_frames", "fps", "has_audio", "seconds"]
DONE = ("ok", "partial")
JOURNAL_SUFFIX = ".journal"

COLUMN_TYPES: dict[str, Any] = {
    "video_name": str, "status": "category", "reason": "category", "duration_s": np.float64, "n_frames": np.int64,
    "fps": np.float64, "has_audio": np.int8, "seconds": np.float64,
}  # fmt: skip


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


class ManifestRows(Mapping[str, Row]):
    """The rows of manifests by clip name. They are stored as columns: a million rows take 0.2 GB."""

    def __init__(self, table: pd.DataFrame) -> None:
        """Wrap a table with the columns `COLUMNS` and one row per name."""
        self.table = table

    @classmethod
    def empty(cls) -> ManifestRows:
        """Return an object without rows."""
        return cls(table_of({}))

    @cached_property
    def names(self) -> list[str]:
        """Clip names in file order."""
        return self.table["video_name"].tolist()

    @cached_property
    def _positions(self) -> dict[str, int]:
        return dict(zip(self.names, range(len(self.names)), strict=True))

    @cached_property
    def _columns(self) -> list[list]:
        return [self.table[column].tolist() for column in COLUMNS[1:]]

    def __getitem__(self, name: str) -> Row:
        """Return the row of a clip."""
        position = self._positions[name]
        status, reason, duration_s, n_frames, fps, has_audio, seconds = (column[position] for column in self._columns)
        return Row(ClipFacts(status, reason, duration_s, n_frames, fps, has_audio == 1), seconds)

    def __contains__(self, name: object) -> bool:
        """Return whether a clip has a row."""
        return name in self._positions

    def __iter__(self) -> Iterator[str]:
        """Iterate over the clip names in file order."""
        return iter(self.names)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    def where(self, mask: np.ndarray) -> ManifestRows:
        """Return the rows where the (N,) bool `mask` is true."""
        return self if mask.all() else ManifestRows(self.table[mask].reset_index(drop=True))

    def of(self, names: list[str]) -> ManifestRows:
        """Return the rows of those of these clips that have one, in the order of `names`."""
        if names == self.names:
            return self
        positions = [self._positions[name] for name in names if name in self._positions]
        return ManifestRows(self.table.iloc[positions].reset_index(drop=True))

    def combinations(self) -> tuple[np.ndarray, list[ClipFacts]]:
        """Return the distinct facts without durations and frame rates, and the number of each row's facts, (N,) int."""
        groups = self.table.groupby(["status", "reason", "n_frames", "has_audio"], observed=True, sort=False)
        first = groups.head(1)
        facts = [
            ClipFacts(status, reason, n_frames=n_frames, has_audio=has_audio == 1)
            for status, reason, n_frames, has_audio in zip(
                *(first[column].tolist() for column in ("status", "reason", "n_frames", "has_audio")), strict=True
            )
        ]
        return groups.ngroup().to_numpy(), facts

    def count(self, column: str) -> Counter[str]:
        """Return the number of rows per value of a text column."""
        counts = self.table[column].value_counts()
        return Counter({str(value): int(n) for value, n in counts.items() if n})


def read_rows(folder: Path) -> ManifestRows:
    """Read all rows in a split's folder: manifest, shard manifests and leftover journals.

    A finished row replaces a pending one. Of two finished rows, the journal's takes precedence.
    """
    tables = [read_manifest(path).table for path in manifest_files(folder)]
    if len(tables) <= 1:
        return ManifestRows(tables[0]) if tables else ManifestRows.empty()
    # Imported here and below because scoring shares this module and needs no tables.
    import pandas as pd

    table = pd.concat(tables, ignore_index=True).astype({"status": str, "reason": str})
    finished_last = (table["status"] != "pending").sort_values(kind="stable").index
    kept = table.loc[finished_last].drop_duplicates("video_name", keep="last")
    return ManifestRows(kept.sort_index().reset_index(drop=True))


def manifest_files(folder: Path) -> list[Path]:
    """List the split's manifests, then its journals."""
    return sorted(folder.glob("extraction*.csv")) + sorted(folder.glob(f"extraction*{JOURNAL_SUFFIX}"))


def read_manifest(path: Path) -> ManifestRows:
    """Read the rows of a manifest or journal. Header and incomplete last lines are skipped.

    Raises:
        UsageError: the file is damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        # Another shard may have merged and deleted the file after it was listed.
        content = b""
    table = parsed_at_once(content)
    return ManifestRows(parsed_by_line(content, path) if table is None else table)


def parsed_at_once(content: bytes) -> pd.DataFrame | None:
    """Parse a complete manifest of plain rows; return `None` if it may contain anything else."""
    header = ",".join(COLUMNS).encode() + b"\n"
    if not content.startswith(header) or not content.endswith(b"\n") or any(mark in content for mark in b'"\r\0'):
        return None
    import pandas as pd

    try:
        table = pd.read_csv(
            io.BytesIO(content),
            dtype=COLUMN_TYPES,
            keep_default_na=False,
            index_col=False,
            quoting=csv.QUOTE_NONE,
            skip_blank_lines=False,
        )
    except (ValueError, pd.errors.ParserError):
        return None
    # Rows that are too short give NaN in the last column.
    complete = not table["seconds"].isna().any() and len(set(table["video_name"].tolist())) == len(table)
    return table if complete else None


def parsed_by_line(content: bytes, path: Path) -> pd.DataFrame:
    """Parse any manifest or journal and skip lines that are not complete rows."""
    rows = {}
    try:
        for cells in csv.reader(io.StringIO(content.decode("utf-8", errors="replace"), newline="")):
            try:
                name, status, reason, duration_s, n_frames, fps, has_audio, seconds = cells
                facts = ClipFacts(status, reason, float(duration_s), int(n_frames), float(fps), has_audio == "1")
                rows[name] = Row(facts, float(seconds))
            except ValueError:
                # This is the header or a truncated line, which lacks numbers in the last columns.
                continue
    except csv.Error as error:
        raise UsageError(f"{path} is damaged ({error}); delete it to extract its clips again") from None
    return table_of(rows)


def table_of(rows: Mapping[str, Row]) -> pd.DataFrame:
    """Return rows as a table with the columns `COLUMNS`."""
    facts = [row.facts for row in rows.values()]
    columns = {name: [getattr(clip, name) for clip in facts] for name in COLUMNS[1:-1]}
    import pandas as pd

    table = pd.DataFrame({"video_name": list(rows), **columns, "seconds": [row.seconds for row in rows.values()]})
    return table.astype(COLUMN_TYPES)


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
