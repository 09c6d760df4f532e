"""Collects, while figures are computed, why some of them cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from utils.metrics.estimate import Estimate, Interval


@dataclass
class Claims:
    """The reasons and remarks that go beside the figures of a summary.

    Attributes:
        nothing: Why no metric at all may be claimed; empty when some may.
        reasons: Reason of each figure that is ``None``, by dotted path.
        notes: Remarks on figures that are there, by dotted path.
    """

    nothing: str
    reasons: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def value(self, path: str, compute: Callable[[], Estimate]) -> float | None:
        """Compute a figure, or note under ``path`` why there is none."""
        value, reason = Estimate(None, self.nothing) if self.nothing else compute()
        if value is None:
            self.reasons[path] = reason
        return value

    def interval(self, path: str, compute: Callable[[], Interval], units: str = "") -> dict[str, Any]:
        """Compute a figure with its limits, and under the name ``units`` the number of units resampled."""
        interval = Interval(None, reason=self.nothing) if self.nothing else compute()
        if interval.value is None:
            self.reasons[path] = interval.reason
        elif interval.low is None:
            self.reasons[f"{path}.low"] = self.reasons[f"{path}.high"] = interval.reason
        elif interval.reason:
            self.notes[path] = interval.reason
        shown = {"value": interval.value, "low": interval.low, "high": interval.high}
        return shown | {units: interval.units} if units else shown

    def table(self, path: str, table: dict[str, Any], reasons: dict[str, str]) -> dict[str, Any]:
        """Take over a table and the reasons found while making it."""
        self.reasons.update({f"{path}.{below}": reason for below, reason in reasons.items()})
        return table
