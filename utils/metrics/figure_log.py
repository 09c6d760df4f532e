"""Reasons for figures that cannot be computed, collected while a summary is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from utils.metrics.estimate import Estimate, Interval


@dataclass
class FigureLog:
    """Reasons and notes collected while the figures of a summary are computed.

    Attributes:
        no_metrics: Why no metric can be computed; empty if some can.
        reasons: Reason for each figure that is ``None``, by dotted path.
        notes: Remarks on figures that have a value, by dotted path.
    """

    no_metrics: str
    reasons: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def value(self, path: str, compute: Callable[[], Estimate]) -> float | None:
        """Compute a figure; if it is ``None``, record the reason under ``path``."""
        value, reason = Estimate(None, self.no_metrics) if self.no_metrics else compute()
        if value is None:
            self.reasons[path] = reason
        return value

    def interval(self, path: str, compute: Callable[[], Interval], units: str = "") -> dict[str, Any]:
        """Compute a figure with its limits; if ``units`` is given, include the number of resampled units."""
        interval = Interval(None, reason=self.no_metrics) if self.no_metrics else compute()
        if interval.value is None:
            self.reasons[path] = interval.reason
        elif interval.low is None:
            self.reasons[f"{path}.low"] = self.reasons[f"{path}.high"] = interval.reason
        elif interval.reason:
            self.notes[path] = interval.reason
        shown = {"value": interval.value, "low": interval.low, "high": interval.high}
        return shown | {units: interval.units} if units else shown

    def table(self, path: str, table: dict[str, Any], reasons: dict[str, str]) -> dict[str, Any]:
        """Record the reasons of a finished table under ``path`` and return the table."""
        self.reasons.update({f"{path}.{below}": reason for below, reason in reasons.items()})
        return table
