"""Safe formatting of untrusted text and numbers, and CSV downloads without spreadsheet formulas."""

from __future__ import annotations

import base64
import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from engine.report.inputs import number
from utils.terminal import FORMULA_STARTS

MISSING = "n/a"
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def visible(value: object, limit: int = 160) -> str:
    """Format `value` as one line of at most `limit` characters.

    Control, bidirectional and undecodable characters become U+FFFD. A file name may contain a newline, a right-to-left
    override or invalid UTF-8, which must neither alter the page nor prevent writing it.
    """
    text = "" if value is None else str(value)
    text = "".join("\ufffd" if unicodedata.category(char) in _HIDDEN_CATEGORIES else char for char in text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def writable(text: str) -> str:
    """Replace lone surrogates (undecodable bytes of a file name) and NUL so that `text` encodes as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")


def isolate(value: object, limit: int = 160) -> Markup:
    """Escape `visible(value)`, allow line breaks after separators, and isolate its text direction with `<bdi>`."""
    pieces = re.split(r"(?<=[_/-])(?=\w)", visible(value, limit))
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(pieces))


def fixed(value: object, digits: int = 3) -> str:
    """Format a number with `digits` decimals, or return `n/a` if there is none."""
    result = number(value)
    if result is None:
        return MISSING
    text = f"{result:.{digits}f}"
    return text.replace("-", "\u2212") if float(text) else text.lstrip("-")


def percent(value: object, digits: int = 1) -> str:
    """Format a share in [0, 1] as a percentage; a share below 1 is never rounded up to 100 %."""
    result = number(value)
    if result is None:
        return MISSING
    if result < 1:
        result = min(result, 1 - 10.0 ** -(digits + 2))
    text = f"{100 * result:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "\u00a0%"


def count(value: object) -> str:
    """Format a count with thin spaces between thousands, or return `n/a` if there is none."""
    result = number(value)
    return MISSING if result is None else f"{round(result):,}".replace(",", "\u202f")


def plural(n: int, noun: str) -> str:
    """Format a count with its noun: `1 clip`, `2 clips`."""
    return f"{count(n)} {noun}" + ("" if n == 1 else "s")


def safe_cell(value: object) -> object:
    """Make a value safe as a CSV cell.

    Numbers stay unchanged and null becomes empty. Text that a spreadsheet would run as a formula gets a leading
    apostrophe.
    """
    if value is None:
        return ""
    if isinstance(value, (int, float)) or hasattr(value, "dtype"):
        result = number(value)
        return "" if result is None else value
    text = writable(str(value))
    if text.startswith(FORMULA_STARTS) and number(text) is None:
        return "'" + text
    return text


def csv_uri(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return the table as CSV (UTF-8) in a `data:` URI for a download link."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([safe_cell(name) for name in header])
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(buffer.getvalue().encode()).decode()
