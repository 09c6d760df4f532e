"""Description of the machine, and tables of the rows for the terminal and as Markdown."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from benchmarks.setting import Row

LIBRARIES = ("av", "opencv-python-headless", "numpy", "numba", "librosa", "soxr", "moviepy", "torch", "timm", "pandas")
HEADER = ("benchmark", "what", "value", "unit", "x floor", "published / value")


def cpu_model() -> str:
    """Return the processor's name as the operating system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> dict[str, str]:
    """Return the facts needed to compare timings: processor, cores, load, system and versions."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    facts = {"processor": cpu_model(), "cores": str(os.cpu_count()), "load (1, 5, 15 min)": load}
    facts |= {"system": platform.platform(), "Python": platform.python_version()}
    return facts | {name: importlib.metadata.version(name) for name in LIBRARIES}


def cells(row: Row) -> tuple[str, ...]:
    """Format a row as the cells of a table."""
    value = f"{row.value:.3g}" if row.value < 1000 else f"{row.value:.0f}"
    ratios = ("" if ratio is None else f"{ratio:.2f}" for ratio in (row.to_floor, row.to_reference))
    return (row.benchmark, row.name, value, row.unit, *ratios)


def text_table(rows: Sequence[Row]) -> str:
    """Format the rows in aligned columns."""
    table = [HEADER, *map(cells, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table)


def markdown_table(rows: Sequence[Row]) -> str:
    """Format the rows as a Markdown table."""
    lines = [HEADER, tuple("---" for _ in HEADER), *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def markdown(rows: Sequence[Row], facts: dict[str, str]) -> str:
    """Format one line that describes the machine, then the table."""
    return "; ".join(f"{name} {value}" for name, value in facts.items()) + ".\n\n" + markdown_table(rows)
