"""Helpers to read metadata files: JSON, CSV, names and spans. Invalid input raises a `UsageError`."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from dataset.importers.imported_clip import Spans
from utils.errors import UsageError
from utils.files import existing_file, unsafe_name

SPLIT_ALIASES = {"training": "train", "dev": "val", "valid": "val", "validation": "val", "validate": "val"}


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UsageError: the file is missing, not UTF-8 or not JSON.
    """
    path = existing_file(path, "metadata file")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from None


def read_entries(path: Path, what: str) -> list[dict[str, Any]]:
    """Read a JSON list of objects.

    Raises:
        UsageError: see `read_json`; also if the content is not a non-empty list of objects.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise UsageError(f"{path}: expected {what}, a JSON list of objects; found {describe(content)}")
    for index, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise UsageError(f"{path}, entry {index}: expected an object, found {describe(entry)}")
    return content


def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read the header and rows of a CSV as stripped text. Empty lines are skipped.

    Raises:
        UsageError: the file is missing, empty or not a UTF-8 CSV.
    """
    path = existing_file(path, "metadata file")
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            rows = [[cell.strip() for cell in row] for row in csv.reader(stream) if any(map(str.strip, row))]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a CSV in UTF-8: {error}") from None
    if not rows:
        raise UsageError(f"{path}: the file is empty")
    return rows[0], rows[1:]


def text_of(entry: dict[str, Any], key: str, where: str) -> str:
    """Return a required text field.

    Raises:
        UsageError: the field is missing, empty or not text.
    """
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: {key!r} must be a non-empty text, found {describe(value)}")
    return value.strip()


def optional_text(entry: dict[str, Any], key: str) -> str:
    """Return an optional text field; empty if it is missing or not text."""
    value = entry.get(key)
    return value.strip() if isinstance(value, str) else ""


def clean_name(text: str, where: str) -> str:
    r"""Normalise a clip name for the label file: `a\b.mp4` and `./a/b.mp4` become `a/b.mp4`.

    Raises:
        UsageError: the name points outside the clip folder.
    """
    if why := unsafe_name(text):
        raise UsageError(f"{where}: the name {text!r} is refused: {why}")
    return "/".join(part for part in text.replace("\\", "/").split("/") if part not in ("", "."))


def spans_of(value: Any, where: str) -> Spans:
    """Convert forged spans to sorted (start, end) pairs in seconds; None becomes ().

    Raises:
        UsageError: the value is not a list of pairs of numbers, or a pair ends before it starts.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise UsageError(f"{where}: expected a list of [start, end] in seconds, found {describe(value)}")
    spans = []
    for pair in value:
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(is_seconds, pair)) and pair[0] <= pair[1]):
            raise UsageError(f"{where}: {describe(pair)} is not a [start, end] in seconds")
        spans.append((float(pair[0]), float(pair[1])))
    return tuple(sorted(spans))


def is_seconds(value: Any) -> bool:
    """Return whether a JSON value is a finite, non-negative number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def split_of(text: str) -> str:
    """Normalise a split name to train, val or test. Other names are converted to lower case."""
    name = text.strip().lower()
    return SPLIT_ALIASES.get(name, name)


def span_notes(fakes_without: int, reals_with: int) -> list[str]:
    """Return notes about clips whose target and spans disagree. The targets are not changed."""
    notes = []
    if fakes_without:
        notes.append(f"{fakes_without} fake clip(s) have no forged span in the metadata; they remain labelled fake")
    if reals_with:
        notes.append(f"{reals_with} real clip(s) have forged spans in the metadata; they remain labelled real")
    return notes


def describe(value: Any, limit: int = 60) -> str:
    """Describe a JSON value briefly for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, list | dict) and len(value) > 3:
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)}"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[: limit - 3] + "..."
