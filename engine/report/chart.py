"""What every chart of the report returns, and the frame they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

LEFT, RIGHT, TOP, BOTTOM = 48.0, 350.0, 26.0, 212.0
"""Edges of the plotting frame, in drawing units."""

UNIT_TICKS = [(value, f"{value:g}") for value in (0, 0.25, 0.5, 0.75, 1)]
PERCENT_TICKS = [(value, f"{100 * value:.0f}") for value in (0, 0.25, 0.5, 0.75, 1)]


@dataclass(frozen=True)
class Chart:
    """One figure of the page.

    Attributes:
        slug: Its name in ids and in the download's file name.
        title: Its heading.
        svg: The drawing; empty if it cannot be drawn, and `missing` then says why.
        caption: What to see in it, one or two sentences.
        csv: Address of the data as a CSV download; empty without data.
        header: Columns of the table that stands in for the drawing.
        rows: Rows of that table, already printed as text.
        missing: Why there is no drawing.
    """

    slug: str
    title: str
    svg: Markup = Markup("")
    caption: str = ""
    csv: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)
    missing: str = ""
