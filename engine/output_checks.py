"""Checks, before scoring starts, that no output overwrites an input or a file that the commands have not written."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.score_rows import COLUMNS
from utils.errors import UsageError
from utils.files import short_path

log = logging.getLogger(__name__)

HEAD_CHARS = 1 << 16
"""Characters of an existing file that are read to recognise it."""

REPORT_MARK = "screening report</title>"
"""Part of every screening report."""


def check_inputs_kept(outputs: Mapping[str, Path | None], inputs: Iterable[Path]) -> None:
    """Check that no output is an input, also through symbolic or hard links.

    Args:
        outputs: option -> file to write; `None` for none.
        inputs: files that the command reads; they need not exist.

    Raises:
        UsageError: an output is an input.
    """
    existing = {option: path for option, path in outputs.items() if path is not None and path.exists()}
    if not existing:
        return
    for given in inputs:
        if not given.exists():
            continue
        for option, path in existing.items():
            if path.samefile(given):
                raise UsageError(f"{option} {path} is the input {given}, which would be overwritten; name another file")


def check_replaceable_scores(path: Path) -> None:
    """Check that an existing output file has scores, and log that they will be replaced.

    Raises:
        UsageError: the file has other content.
    """
    head = head_of(path)
    if not head.strip():
        return
    if not has_scores(head, path.suffix.lower()):
        raise UsageError(
            f"--output {path} exists and is not a file of scores, so it is not overwritten; name another file"
        )
    log.warning("%s has scores of an earlier run, which are replaced; --resume keeps them", short_path(path))


def check_replaceable_report(path: Path) -> None:
    """Check that an existing report is a screening report, and not for example that of a training run.

    Raises:
        UsageError: the file has other content.
    """
    head = head_of(path)
    if head.strip() and REPORT_MARK not in head:
        raise UsageError(
            f"--report: {path} exists and is not a report about scored clips, so it is not overwritten; name another folder"
        )


def head_of(path: Path) -> str:
    """Return the start of a file as text; empty for a file that does not exist.

    Raises:
        UsageError: the file cannot be read.
    """
    if not path.is_file():
        return ""
    try:
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as stream:
            return stream.read(HEAD_CHARS)
    except OSError as error:
        raise UsageError(f"{path} exists and cannot be read ({error.strerror}), so it is not overwritten") from None


def has_scores(head: str, suffix: str) -> bool:
    """Return whether the start of a file is that of an output file with this suffix."""
    if suffix == ".csv":
        header = next(csv.reader(head.splitlines()[:1]), [])
        return tuple(header[: len(COLUMNS)]) == COLUMNS
    text = head.lstrip()
    if suffix == ".json":
        if not text.startswith("["):
            return False
        text = text[1:].lstrip()
        if text.startswith("]"):
            return not text[1:].strip()
    try:
        row, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and set(COLUMNS) <= set(row)
