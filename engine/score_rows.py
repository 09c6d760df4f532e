"""Rows of the score table: their columns, and their text in CSV and JSON files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.detector import Detector, Score
from engine.scoring import EVIDENCE_PREFIX
from engine.timeline.faces import face_entry, scored_faces
from utils.errors import UsageError
from utils.files import file_sha256
from utils.terminal import FORMULA_STARTS

if TYPE_CHECKING:
    import pandas as pd


Cell = str | float | list[dict[str, Any]] | None
Row = Mapping[str, Cell]

COLUMNS = ("video", "score", "logit", "verdict", "threshold", "status", "reason")
FACES_COLUMN = "faces"
"""Column of the faces of a clip with several: a list in JSON, `face_text` in CSV."""

CHECKPOINT_COLUMN = "checkpoint"
REAL_THRESHOLD_COLUMN = "real_threshold"
UNTABLED_COLUMNS = (FACES_COLUMN, CHECKPOINT_COLUMN, REAL_THRESHOLD_COLUMN)
"""Columns of output files that tables and reports leave out."""

TEXT_COLUMNS = frozenset({"video", "verdict", "status", "reason", FACES_COLUMN, CHECKPOINT_COLUMN})
CHECKPOINT_DIGITS = 12

OTHER_DELIMITERS = (";", "\t", "|")
"""Characters at which spreadsheets in some languages split a line. In quotes, they cannot begin a cell with a formula."""


def columns_of(detector: Detector) -> list[str]:
    """Return the columns of an output file: `COLUMNS`, one evidence column per expert, and `UNTABLED_COLUMNS`."""
    return [*COLUMNS, *(EVIDENCE_PREFIX + term for term in detector.terms), *UNTABLED_COLUMNS]


def checkpoint_id(detector: Detector) -> str:
    """Return an identifier of the scores of a detector: digits of its file's SHA-256, and the views if there are several."""
    if detector.path is None:
        digest = "unsaved"
    else:
        digest = file_sha256(detector.checkpoint.identity_file(detector.path))[:CHECKPOINT_DIGITS]
    return digest if detector.tta == 1 else f"{digest}-tta{detector.tta}"


def row_of(score: Score) -> dict[str, Cell]:
    """Return a score as a row."""
    evidence = {EVIDENCE_PREFIX + term: value for term, value in score.evidence.items()}
    return {
        "video": score.video,
        "score": score.score,
        "logit": score.logit,
        "verdict": score.verdict,
        "threshold": score.thresholds["fake"],
        "status": score.status,
        "reason": score.reason,
        **evidence,
        FACES_COLUMN: [face_entry(face) for face in scored_faces(score.faces)],
        REAL_THRESHOLD_COLUMN: score.thresholds.get("real"),
    }


def face_text(faces: Sequence[Mapping[str, Any]]) -> str:
    """Return the faces of a row as the text of a CSV cell: number and score, the most suspicious one first."""
    ranked = sorted(faces, key=lambda face: -face["score"])
    return "; ".join(f"{face['number']}: {face['score']:.4f}" for face in ranked)


def pending_row(video: str, detector: Detector) -> dict[str, Cell]:
    """Return the row of a clip that has not been scored."""
    calibration = detector.checkpoint.calibration
    return {
        "video": video,
        "verdict": "unscored",
        "threshold": calibration.threshold,
        "status": "pending",
        "reason": "",
        FACES_COLUMN: [],
        REAL_THRESHOLD_COLUMN: calibration.real_threshold,
    }


def scores_table(scores: Iterable[Score], detector: Detector) -> pd.DataFrame:
    """Return scores as a table without `UNTABLED_COLUMNS`.

    `threshold` is the lowest score with the verdict `fake`. Score and logit are NaN if the verdict is `unscored`.
    """
    return table_of_rows(map(row_of, scores), [name for name in columns_of(detector) if name not in UNTABLED_COLUMNS])


def table_of_rows(rows: Iterable[Row], columns: Sequence[str]) -> pd.DataFrame:
    """Return rows as a table with these columns; unknown numbers are NaN."""
    # Imported here because only reports need pandas.
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(columns))
    return table.astype({name: float for name in columns if name not in TEXT_COLUMNS})


def written_name(name: str) -> str:
    """Return a file name as it is written to an output file: undecodable bytes are escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def plain_cell(name: str) -> str:
    """Return a path that spreadsheets do not interpret as a formula. `./=a.mp4` and `=a.mp4` are the same file."""
    return f"./{name}" if name.startswith(FORMULA_STARTS) else name


def written_key(name: str) -> str:
    """Return a key that is equal for a clip and for its row in any output file."""
    return written_name(plain_cell(name))


def csv_line(cells: Iterable[Cell]) -> str:
    """Return a CSV record with a newline; numbers have 9 significant digits, unknown values are empty."""
    text = io.StringIO()
    # With this terminator, the writer quotes a field with either character.
    writer = csv.writer(text, lineterminator="\r\n")
    texts = [cell_text(cell) for cell in cells]
    if any(mark in texts[0] for mark in OTHER_DELIMITERS):
        writer = csv.writer(text, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow(texts)
    return written_name(text.getvalue().removesuffix("\r\n") + "\n")


def cell_text(cell: Cell) -> str:
    """Return the text of a cell."""
    if isinstance(cell, list):
        return face_text(cell)
    return f"{cell:.9g}" if isinstance(cell, float) else "" if cell is None else cell


def json_line(row: Mapping[str, Cell]) -> str:
    """Return a JSON object on one line with a newline; unknown values are null."""
    return written_name(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Cell]]:
    """Yield the rows of an output file. The last record of a CSV or JSONL file is left out if it was cut short.

    Raises:
        UsageError: the file has other columns, or is damaged.
    """
    suffix = path.suffix.lower()
    try:
        with open(path, newline="" if suffix == ".csv" else None, encoding="utf-8") as stream:
            yield from {".csv": read_csv_rows, ".jsonl": read_json_lines, ".json": read_json_list}[suffix](
                stream, columns
            )
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise UsageError(f"{path} is not a file of scores of this detector: {error}") from None


def read_csv_rows(stream: io.TextIOBase, columns: Sequence[str]) -> Iterator[dict[str, Cell]]:
    """Yield the rows of a CSV file."""
    lines = CompleteLines(stream)
    header, previous = None, None
    for cells in csv.reader(lines):
        if header is None:
            header = cells
            check_columns(header, columns)
            continue
        if previous is not None:
            yield typed_row(columns, previous)
        previous = cells
    if previous is not None and lines.complete:
        yield typed_row(columns, previous)


def read_json_lines(stream: io.TextIOBase, columns: Sequence[str]) -> Iterator[dict[str, Cell]]:
    """Yield the rows of a JSONL file."""
    for line in stream:
        if line.endswith("\n"):
            yield checked_row(json.loads(line), columns)


def read_json_list(stream: io.TextIOBase, columns: Sequence[str]) -> Iterator[dict[str, Cell]]:
    """Yield the rows of a JSON list."""
    for row in json.load(stream):
        yield checked_row(row, columns)


class CompleteLines:
    """The lines of a file. `complete` indicates whether the last line read ended with a newline."""

    def __init__(self, stream: io.TextIOBase) -> None:
        """Wrap a text stream."""
        self._stream = stream
        self.complete = True

    def __iter__(self) -> Iterator[str]:
        """Iterate over the lines."""
        for line in self._stream:
            self.complete = line.endswith("\n")
            yield line


def typed_row(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Cell]:
    """Return the cells of a CSV record as a row with numbers."""
    if len(cells) != len(columns):
        raise ValueError(f"a record has {len(cells)} cells, expected {len(columns)}")
    return {
        name: cell if name in TEXT_COLUMNS else float(cell) if cell else None
        for name, cell in zip(columns, cells, strict=True)
    }


def checked_row(row: dict[str, Cell], columns: Sequence[str]) -> dict[str, Cell]:
    """Return a row read from JSON.

    Raises:
        ValueError: the row has other columns.
    """
    check_columns(list(row), columns)
    return row


def check_columns(found: Sequence[str], expected: Sequence[str]) -> None:
    """Raise a `ValueError` if the columns differ."""
    if list(found) == [name for name in expected if name != REAL_THRESHOLD_COLUMN]:
        raise ValueError(
            f"an earlier version wrote it, without the column {REAL_THRESHOLD_COLUMN}; use another --output"
        )
    if list(found) != list(expected):
        raise ValueError(f"its columns are {','.join(map(str, found))}, expected {','.join(expected)}")
