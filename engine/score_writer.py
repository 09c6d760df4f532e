"""Output file of scores: CSV, JSONL or JSON. Rows are written as they come."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from engine.score_rows import Row, csv_line, json_line, plain_cell
from utils.errors import WriteError
from utils.files import CANNOT_WRITE, atomic_path, write_target, write_text_atomic, writing

log = logging.getLogger(__name__)

OUTPUT_SUFFIXES = (".csv", ".json", ".jsonl")

WRITE_EVERY_S = 30.0
"""Interval between writes of a JSON list, and between warnings about a file that cannot be written, in seconds."""

MAX_UNWRITTEN = 10_000
"""Number of rows that are held while the disk is full; with more, writing fails."""


class ScoreWriter:
    """Writer that adds each row to a file when it is ready.

    CSV and JSONL records are appended one by one, so a killed process loses no finished row. A JSON list is written every
    `WRITE_EVERY_S` seconds and by `close`; until then its rows are in an unnamed temporary file. Memory does not grow with
    the number of rows except for 8 bytes per row. While the disk is full, rows are held and written later.
    """

    def __init__(self, path: Path, columns: Sequence[str], kept: Iterable[Row] = ()) -> None:
        """Replace the file by one with the kept rows.

        Raises:
            WriteError: the file cannot be written.
        """
        self.path = path
        self._columns = columns
        self._starts = array("q")
        self._size = 0
        self._waiting: deque[bytes] = deque()
        self._is_list = path.suffix.lower() == ".json"
        self._header = csv_line(columns) if path.suffix.lower() == ".csv" else ""
        self._written_at = self._warned_at = time.monotonic()
        self._warned_at -= WRITE_EVERY_S
        with writing(path):
            self._stream = self._open(kept)

    def _open(self, kept: Iterable[Row]) -> BinaryIO:
        """Write the header and the kept rows, and return a stream open at the end of the file."""
        if self._is_list:
            folder = write_target(self.path).parent
            stream = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  (closed by `close`)
            self._size = write_records(stream, self._counted(kept))
            return stream
        with atomic_path(self.path) as temporary, open(temporary, "wb") as new:
            self._size = new.write(self._header.encode())
            write_records(new, self._counted(kept))
        stream = open(self.path, "r+b", buffering=0)  # noqa: SIM115
        self._size = stream.seek(0, os.SEEK_END)
        return stream

    def _counted(self, rows: Iterable[Row]) -> Iterator[bytes]:
        size = self._size
        for row in rows:
            record = self._encode(row)
            self._starts.append(size)
            size += len(record)
            yield record

    def _encode(self, row: Row) -> bytes:
        cells = {name: row.get(name) for name in self._columns}
        if not self._header:
            return json_line(cells).encode()
        return csv_line((cells | {"video": plain_cell(str(row["video"]))}).values()).encode()

    def add(self, row: Row) -> int:
        """Write a row and return its number. If the disk is full, the row is held.

        Raises:
            WriteError: more than `MAX_UNWRITTEN` rows are held, or the file cannot be written for another reason.
        """
        number = len(self._starts) + len(self._waiting)
        self._waiting.append(self._encode(row))
        try:
            with writing(self.path):
                self._write_waiting()
                if self._is_list and time.monotonic() - self._written_at > WRITE_EVERY_S:
                    self._written_at = time.monotonic()
                    self._write_list(range(len(self._starts)))
        except OSError as error:
            if len(self._waiting) > MAX_UNWRITTEN or not isinstance(error, WriteError):
                raise
            if time.monotonic() - self._warned_at >= WRITE_EVERY_S:
                self._warned_at = time.monotonic()
                log.warning("%s; scoring continues", error)
        return number

    def _write_waiting(self) -> None:
        while self._waiting:
            record = self._waiting[0]
            try:
                write_all(self._stream, record)
            except OSError as error:
                if error.errno in CANNOT_WRITE:
                    # Remove the part of the record that was written.
                    with contextlib.suppress(OSError):
                        self._stream.truncate(self._size)
                        self._stream.seek(self._size)
                raise
            self._starts.append(self._size)
            self._size += len(record)
            self._waiting.popleft()

    def close(self, order: Sequence[int] | None = None) -> None:
        """Finish the file.

        Args:
            order: numbers of rows in their final order; rows that are left out come first. `None` for the present order.

        Raises:
            WriteError: the file cannot be written.
        """
        with writing(self.path), self._stream:
            self._write_waiting()
            numbers: Sequence[int] = range(len(self._starts))
            in_order = order is None or all(earlier < later for earlier, later in pairwise(order))
            if order is not None and not in_order:
                named = set(order)
                numbers = [*(number for number in numbers if number not in named), *order]
            if self._is_list:
                self._write_list(numbers)
            elif not in_order:
                with atomic_path(self.path) as temporary, open(temporary, "wb") as new:
                    new.write(self._header.encode())
                    write_records(new, self._records(numbers))

    def _records(self, numbers: Iterable[int]) -> Iterator[bytes]:
        for number in numbers:
            end = self._starts[number + 1] if number + 1 < len(self._starts) else self._size
            self._stream.seek(self._starts[number])
            yield self._stream.read(end - self._starts[number])
        self._stream.seek(self._size)

    def _write_list(self, numbers: Sequence[int]) -> None:
        if not numbers:
            write_text_atomic(self.path, "[]\n")
            return
        with atomic_path(self.path) as temporary, open(temporary, "wb") as new:
            before = b"[\n"
            for record in self._records(numbers):
                new.write(before + record.removesuffix(b"\n"))
                before = b",\n"
            new.write(b"\n]\n")


def write_records(stream: BinaryIO, records: Iterable[bytes]) -> int:
    """Write records and return the number of bytes."""
    return sum(write_all(stream, record) for record in records)


def write_all(stream: BinaryIO, data: bytes) -> int:
    """Write all bytes to a stream, which may be unbuffered, and return their number."""
    left = memoryview(data)
    while left:
        left = left[stream.write(left) :]
    return len(data)
