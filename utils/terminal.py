"""Text for terminals and logs, without control characters from file names and metadata."""

from __future__ import annotations

import logging

_DIRECTIONS = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *_DIRECTIONS]
_ESCAPES = {code: ascii(chr(code))[1:-1] for code in _CONTROLS if chr(code) not in "\n\t"}
"""Control characters, line separators, and marks and changes of the text direction -> Python's escape, e.g. `\\x1b`.
Newline and tab are kept."""

FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
"""Characters with which text in a table becomes a formula in spreadsheets."""


def printable(text: str) -> str:
    """Escape the control characters of `text`. In a terminal, they could recolour, overwrite or hide other output."""
    return text.translate(_ESCAPES)


def one_line(text: str) -> str:
    """Escape the control characters of `text`, newlines and tabs among them, and undecodable characters of file names."""
    return printable(text.encode("utf-8", "backslashreplace").decode()).replace("\t", "\\t").replace("\n", "\\n")


class PrintableFormatter(logging.Formatter):
    """Log formatter that escapes control characters. A message is one line, so no name can forge another message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (overrides a method of the base class)
        """Return the message on one line."""
        return one_line(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return the formatted record without control characters."""
        return printable(super().format(record))


def log_printable_text() -> None:
    """Escape control characters in log messages of processes that configure no log handler."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(PrintableFormatter())
