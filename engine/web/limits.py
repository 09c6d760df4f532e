"""Limits of the web page on uploaded clips. Clips within them are also subject to `utils.media.limits`."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1_000_000
MAX_NAME = 120
"""Most characters of a file name that are kept."""


@dataclass(frozen=True)
class WebLimits:
    """Limits on uploads.

    Attributes:
        max_mb: largest clip in MB.
        max_minutes: longest clip in minutes.
        max_files: most clips in one batch.
    """

    max_mb: float = 200.0
    max_minutes: float = 10.0
    max_files: int = 50

    @property
    def max_bytes(self) -> int:
        """Largest clip in bytes."""
        return round(self.max_mb * MB)

    @property
    def stored_bytes(self) -> int:
        """Most bytes of uploads that are stored at the same time, for all visitors."""
        return 10 * self.max_bytes

    def size_refusal(self, n_bytes: int) -> str:
        """Return a sentence about a file that is too large; empty if it is not."""
        if n_bytes <= self.max_bytes:
            return ""
        return (
            f"The file has {mb_text(n_bytes)}, and the limit is {mb_text(self.max_bytes)}. "
            "Send a shorter or smaller copy, or start the page with a higher --max_mb."
        )

    def duration_refusal(self, seconds: float) -> str:
        """Return a sentence about a clip that is too long; empty if it is not."""
        if seconds <= 60 * self.max_minutes:
            return ""
        return (
            f"The clip lasts {minutes_text(seconds)}, and the limit is {minutes_text(60 * self.max_minutes)}. "
            "Cut out the part in question, or start the page with a higher --max_minutes."
        )

    @property
    def summary(self) -> str:
        """The limits in words, for example "Up to 200 MB and 10 min."."""
        return f"Up to {mb_text(self.max_bytes)} and {minutes_text(60 * self.max_minutes)}."


def mb_text(n_bytes: int) -> str:
    """Return a size as text, for example `1.5 MB`."""
    size = n_bytes / MB
    return f"{size:,.0f} MB" if size >= 10 or size == round(size) else f"{size:.1f} MB"


def minutes_text(seconds: float) -> str:
    """Return a duration as text, for example `12 min 4 s`."""
    minutes, rest = divmod(round(seconds), 60)
    parts = [f"{minutes:,} min"] * bool(minutes) + [f"{rest} s"] * bool(rest or not minutes)
    return " ".join(parts)
