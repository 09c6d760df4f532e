"""Scores as lines of text: an aligned, coloured table on a terminal, tab-separated values elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from engine.score_rows import FACES_COLUMN, Row
from engine.scoring import EVIDENCE_PREFIX
from engine.timeline.faces import FACE_TERMS
from utils.terminal import one_line

HEADINGS = ("video", "score", "verdict", "because", "reason")
SCORE_WIDTH, VERDICT_WIDTH, REASON_WIDTH = 6, 12, 16
MIN_NAME_WIDTH, MAX_BECAUSE_WIDTH = 16, 21
GAP = "  "
COLOURS = {"fake": "31", "inconclusive": "33", "real": "32", "unscored": "2"}
"""Verdict -> parameter of the terminal's SGR sequence: red, yellow, green, faint."""


class ScoreLines:
    """Formatter of rows as lines.

    On a terminal, a line fits its width: long names lose their folder, then their middle, and several reasons are counted.
    Elsewhere, a line has the full name and is separated by tabs. Control characters in names are escaped in both cases.
    """

    def __init__(self, terms: Sequence[str], *, width: int | None = None, colour: bool = False) -> None:
        """Choose the format.

        Args:
            terms: names of the experts.
            width: columns of the terminal; `None` for tab-separated values.
            colour: whether to colour verdicts.
        """
        self._terms = terms
        self._colour = colour
        shown = [face_prefix(1 if term in FACE_TERMS else None) + term + " +0.0" for term in terms]
        because = min(max(map(len, [HEADINGS[3], *shown])), MAX_BECAUSE_WIDTH)
        self._widths: list[int] | None = None
        if width is not None:
            rest = [SCORE_WIDTH, VERDICT_WIDTH, because, REASON_WIDTH]
            name = max(MIN_NAME_WIDTH, width - sum(rest) - len(GAP) * len(rest))
            self._widths = [name, *rest]

    @classmethod
    def for_stream(cls, terms: Sequence[str], stream: TextIO | None = None) -> ScoreLines:
        """Return the format for a stream, by default the standard output. `NO_COLOR` disables colours."""
        stream = sys.stdout if stream is None else stream
        if not stream.isatty():
            return cls(terms)
        colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(terms, width=shutil.get_terminal_size().columns, colour=colour)

    def header(self) -> str:
        """Return the line with the names of the columns."""
        return self._joined(HEADINGS, "")

    def line(self, row: Row) -> str:
        """Return the line of a row."""
        score, verdict = row["score"], str(row["verdict"])
        shown = f"{score:.4f}" if isinstance(score, float) else ""
        cells = (one_line(str(row["video"])), shown, verdict, main_evidence(row, self._terms), str(row["reason"]))
        return self._joined(cells, verdict)

    def _joined(self, cells: Sequence[str], verdict: str) -> str:
        if self._widths is None:
            return "\t".join(cells)
        name_width, *_, reason_width = self._widths
        shortened = [shortened_path(cells[0], name_width), *cells[1:-1], shortened_reasons(cells[-1], reason_width)]
        padded = [fitted(cell, width) for cell, width in zip(shortened, self._widths, strict=True)]
        if self._colour and verdict in COLOURS:
            padded[2] = f"\x1b[{COLOURS[verdict]}m{padded[2]}\x1b[0m"
        return GAP.join(padded).rstrip()


def main_evidence(row: Row, terms: Sequence[str]) -> str:
    """Return the expert that contributed most to the verdict, with its contribution in log-odds; empty if unscored.

    This is the largest contribution for `fake`, the smallest for `real`, else the one of the largest magnitude. If the clip
    has several faces and the expert scores faces, the number of the most suspicious face precedes it.
    """
    found = {term: value for term in terms if isinstance(value := row.get(EVIDENCE_PREFIX + term), float)}
    if row["score"] is None or not found:
        return ""
    sign = {"fake": 1, "real": -1}.get(str(row["verdict"]))
    term = max(found, key=lambda name: abs(found[name]) if sign is None else sign * found[name])
    number = f" {found[term]:+.1f}"
    prefix = face_prefix(worst_number(row) if term in FACE_TERMS else None)
    return prefix + middle_truncated(term, MAX_BECAUSE_WIDTH - len(prefix) - len(number)) + number


def face_prefix(number: int | None) -> str:
    """Return the words that name a face; empty without one."""
    return "" if number is None else f"face {number}: "


def worst_number(row: Row) -> int | None:
    """Return the number of the most suspicious face of a clip with several; else `None`."""
    faces = row.get(FACES_COLUMN)
    if not isinstance(faces, list) or not faces:
        return None
    return int(max(faces, key=lambda face: face["score"])["number"])


def fitted(text: str, width: int) -> str:
    """Return text padded, or shortened in its middle, to a number of terminal columns."""
    text = middle_truncated(text, width)
    return text + " " * (width - columns(text))


def shortened_path(path: str, width: int) -> str:
    """Replace the folder of a path by an ellipsis if it needs more than `width` columns."""
    _, slash, name = path.rpartition("/")
    return "…/" + middle_truncated(name, width - 2) if slash and columns(path) > width else path


def shortened_reasons(reasons: str, width: int) -> str:
    """Return the first of several reason codes and the number of further ones if they need more than `width` columns."""
    first, *further = reasons.split("+")
    return f"{first} +{len(further)}" if further and columns(reasons) > width else reasons


def middle_truncated(text: str, width: int) -> str:
    """Replace the middle of text by an ellipsis if it needs more than `width` columns; the end is shown longer."""
    if columns(text) <= width:
        return text
    tail = cut(text[::-1], (2 * (width - 1) + 2) // 3)[::-1]
    return cut(text, width - 1 - columns(tail)) + "…" + tail


def cut(text: str, width: int) -> str:
    """Return the longest start of text that fits into `width` columns."""
    used = 0
    for index, char in enumerate(text):
        used += columns(char)
        if used > width:
            return text[:index]
    return text


def columns(text: str) -> int:
    """Return the number of terminal columns that text occupies: 2 per wide character, 0 per combining one."""
    return sum(
        2 if unicodedata.east_asian_width(char) in "WF" else 0 if unicodedata.category(char) in ("Mn", "Me") else 1
        for char in text
    )
