"""Text for terminals and logs, without control characters from file names and metadata."""

from __future__ import annotations

import logging

_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPES = {code: ascii(chr(code))[1:-1] for code in _CONTROLS if chr(code) not in "\n\t"}
"""Control characters and changes of the text direction -> Python's escape, e.g. `\\x1b`. Newline and tab are kept."""

FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
"""Characters with which text in a table becomes a formula in spreadsheets."""


def printable(text: str) -> str:
    """Escape the control characters of `text`. In a terminal, they could recolour, overwrite or hide other output."""
    return text.translate(_ESCAPES)


class PrintableFormatter(logging.Formatter):
    """Log formatter that escapes control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the formatted record without control characters."""
        return printable(super().format(record))


def log_printable_text() -> None:
    """Escape control characters in log messages of processes that configure no log handler."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(PrintableFormatter())
