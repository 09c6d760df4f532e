"""Audit rows as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.audit.findings import FAILS, REACH_MEANINGS

MEDIANS_SHOWN = 4


def format_audit(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format the rows as a table, followed by one sentence per finding and the suggested mitigations."""
    mitigated = any("after" in row for row in rows)
    header = ("probe", "AUC", "interval", "random", "within", *(("after",) if mitigated else ()), "finding")
    cells = [header]
    for row in rows:
        after = (_number((row.get("after") or {}).get("auc")),) if mitigated else ()
        within = _number((row.get("within") or {}).get("auc"))
        random = _number((row.get("random") or {}).get("auc"))
        cells.append((row["probe"], _number(row["auc"]), _limits(row), random, within, *after, row["verdict"]))
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([*lines, "", *_remarks(rows)])


def _remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line per finding, per reach and per suggested mitigation."""
    found = [row for row in rows if row["remedy"] or row["verdict"] == FAILS]
    lines = [f"{row['probe']}: {row['verdict']}. {row['explanation']}{_medians(row)}" for row in found]
    for reach, meaning in REACH_MEANINGS.items():
        names = [row["probe"] for row in rows if row["reach"] == reach]
        if names:
            lines.append(f"{meaning[0].upper()}{meaning[1:]}: {', '.join(names)}.")
    mitigations = dict.fromkeys(part for row in found if row["remedy"] for part in row["remedy"].split("; "))
    lines += [f"Mitigation: {mitigation}" for mitigation in mitigations]
    return lines or ["No probe found a shortcut."]


def _medians(row: Mapping[str, Any]) -> str:
    """Return the medians behind a finding, or nothing if there are more than `MEDIANS_SHOWN`."""
    medians = {name: pair for name, pair in row["medians"].items() if pair["real"] != pair["fake"]}
    if not 0 < len(medians) <= MEDIANS_SHOWN:
        return ""
    parts = (f"{name} {pair['real']:.4g} in reals, {pair['fake']:.4g} in fakes" for name, pair in medians.items())
    return f" Medians: {'; '.join(parts)}."


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _limits(row: Mapping[str, Any]) -> str:
    if row["low"] is None or row["high"] is None:
        return ""
    return f"{row['low']:.2f}-{row['high']:.2f}"
