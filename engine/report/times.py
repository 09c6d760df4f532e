"""Times of a clip as people read them, and round steps of time axes."""

from __future__ import annotations

from datetime import datetime, timezone

STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
"""Intervals between the ticks of a time axis, in seconds."""


def clock(seconds: float) -> str:
    """Return a time to a tenth of a second: `3.5 s`, or `2:28.5` in minutes and seconds from one minute on."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    if minutes:
        return f"{minutes}:{rest / 10:04.1f}".removesuffix(".0")
    return f"{rest / 10:.1f}".removesuffix(".0") + " s"


def moment(text: str) -> str:
    """Return an ISO time as a date and a time of day: `2026-11-28 10:40 UTC`. Other text stays unchanged."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if parsed.tzinfo is None else f"{parsed.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def time_ticks(end_s: float, most: int) -> list[float]:
    """Return round times from 0 to `end_s` seconds, at most about `most` of them."""
    step = next((one for one in STEPS_S if end_s / one <= most), STEPS_S[-1])
    return [number * step for number in range(int(end_s / step) + 1)]
