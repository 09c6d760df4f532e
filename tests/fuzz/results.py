"""Results of a fuzzing run: one row per mutated input, and what was wrong with it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """The outcome of one mutated input.

    Attributes:
        kind: `clip`, `config`, `labels`, `checkpoint`, ...
        number: number of the input within its kind; with the seed, it determines the input.
        mutation: name of the mutation.
        source: name of the intact file.
        outcome: status of a clip; "accepted" or "refused" for other kinds; "lost" without an answer.
        reason: reason code of a clip, or the start of the sentence with which another file is refused.
    """

    kind: str
    number: int
    mutation: str
    source: str
    outcome: str
    reason: str = ""


@dataclass
class Results:
    """Rows and findings of a run. A finding is a violated promise; the run has failed if there is one."""

    rows: list[Row] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    peak_gb: float = 0.0

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of inputs per outcome and reason, by kind. Sentences are not counted separately."""
        tables: dict[str, Counter[str]] = {}
        for row in self.rows:
            code = f"{row.outcome}: {row.reason}" if row.kind == "clip" and row.reason else row.outcome
            tables.setdefault(row.kind, Counter())[code] += 1
        return {kind: dict(table.most_common()) for kind, table in tables.items()}

    def write(self, output: Path, settings: Mapping[str, Any]) -> None:
        """Write fuzz.csv (one row per input) and fuzz.json (counts and findings)."""
        summary = {
            "settings": dict(settings),
            "inputs": len(self.rows),
            "peak_gb": round(self.peak_gb, 3),
            "findings": self.findings,
            "counts": self.counts(),
        }
        (output / "fuzz.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        with open(output / "fuzz.csv", "w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(Row.__dataclass_fields__))
            writer.writeheader()
            writer.writerows(asdict(row) for row in self.rows)

    def lines(self) -> Sequence[str]:
        """Return the counts and findings as lines of text."""
        table = [
            f"{kind:12}{count:6}  {code}" for kind, codes in self.counts().items() for code, count in codes.items()
        ]
        return [*table, *(f"FINDING: {finding}" for finding in self.findings)]
