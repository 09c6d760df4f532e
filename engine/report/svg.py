"""Scales, axes and marks of a small chart as inline SVG.

Colours come from CSS classes, so the same drawing works in light mode, dark mode and print. Drawings are 360 units wide;
at a width of 360 px (a phone) text has its nominal size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist

import numpy as np
from markupsafe import Markup

from engine.report.text import visible

Point = tuple[float, float]
Ticks = Sequence[tuple[float, str]]
LEFT, RIGHT, TOP, BOTTOM = 48.0, 350.0, 26.0, 212.0
"""Edges of the plotting frame of a chart, in drawing units."""

UNIT_TICKS = [(value, f"{value:g}") for value in (0, 0.25, 0.5, 0.75, 1)]
PERCENT_TICKS = [(value, f"{100 * value:.0f}") for value in (0, 0.25, 0.5, 0.75, 1)]

MIN_DISTANCE = 0.4
"""Distance in drawing units below which two points of a line cannot be distinguished."""


@dataclass(frozen=True)
class Chart:
    """A chart of the page.

    Attributes:
        slug: Short name used in ids and in the file name of the download.
        title: Heading.
        svg: The drawing; empty if there is none, in which case `missing` gives the reason.
        caption: One or two sentences on how to read the chart.
        csv: Data URI of the CSV download; empty without data.
        header: Column names of the table that presents the same data.
        rows: Rows of this table, formatted as text.
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


@dataclass(frozen=True)
class Scale:
    """Map from a value in [low, high] to a coordinate; values outside the range are clipped.

    Attributes:
        low: Value at `start`.
        high: Value at `end`.
        start: Coordinate of `low`, in drawing units.
        end: Coordinate of `high`.
        kind: `linear`, `log`, or `probit` (normal deviates, the axes of a DET curve).
    """

    low: float
    high: float
    start: float
    end: float
    kind: str = "linear"

    def _warp(self, value: float) -> float:
        if self.kind == "log":
            return math.log10(value)
        return NormalDist().inv_cdf(value) if self.kind == "probit" else value

    @cached_property
    def _warped_ends(self) -> Point:
        return self._warp(self.low), self._warp(self.high)

    def __call__(self, value: float) -> float:
        """Return the coordinate of `value`."""
        value = min(max(float(value), self.low), self.high)
        low, high = self._warped_ends
        share = 0.5 if high == low else (self._warp(value) - low) / (high - low)
        return self.start + share * (self.end - self.start)


def nice_ticks(low: float, high: float, target: int = 5) -> list[float]:
    """Return about `target` round values within [low, high], in steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / max(target, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def staircase(x: np.ndarray, y: np.ndarray) -> list[Point]:
    """Return the points of a step line through (x, y), first along x, then up.

    Steps avoid interpolation between two thresholds.
    """
    points: list[Point] = [(float(x[0]), float(y[0]))]
    for index in range(1, len(x)):
        points += [(float(x[index]), float(y[index - 1])), (float(x[index]), float(y[index]))]
    return points


class Plot:
    """A frame with two scales. Marks are added in drawing order."""

    def __init__(self, x: Scale, y: Scale, *, width: int = 360, height: int = 250) -> None:
        """Set the frame; `x` and `y` define its edges in drawing units, with `y.start` at the bottom."""
        self.x, self.y, self.width, self.height = x, y, width, height
        self._marks: list[Markup] = []

    def _add(self, template: str, **values: object) -> None:
        shown = {key: f"{value:.1f}" if isinstance(value, float) else value for key, value in values.items()}
        self._marks.append(Markup(template).format(**shown))

    def path(self, points: Sequence[Point], css: str, *, close: bool = False) -> None:
        """Add a line, or a closed area, through data points. Points that cannot be distinguished are omitted."""
        drawn: list[Point] = []
        for index, (px, py) in enumerate(points):
            at = (self.x(px), self.y(py))
            near = drawn and max(abs(at[0] - drawn[-1][0]), abs(at[1] - drawn[-1][1])) < MIN_DISTANCE
            if not near or index == len(points) - 1:
                drawn.append(at)
        if drawn:
            d = "L".join(f"{px:.1f} {py:.1f}" for px, py in drawn)
            self._add('<path class="{css}" d="M{d}{z}"/>', css=css, d=d, z="Z" if close else "")

    def rect(self, x0: float, x1: float, y0: float, y1: float, css: str) -> None:
        """Add a rectangle between two corners in data coordinates."""
        left, right = sorted((self.x(x0), self.x(x1)))
        top, bottom = sorted((self.y(y0), self.y(y1)))
        if right > left and bottom > top:
            self._add(
                '<rect class="{css}" x="{x}" y="{y}" width="{w}" height="{h}"/>',
                css=css, x=left, y=top, w=right - left, h=bottom - top,
            )  # fmt: skip

    def dot(self, x: float, y: float, radius: float, css: str) -> None:
        """Add a disc at a data position; `radius` is in drawing units."""
        self._add(
            '<circle class="{css}" cx="{x}" cy="{y}" r="{r}"/>', css=css, x=self.x(x), y=self.y(y), r=float(radius)
        )

    def rule(self, css: str, *, x: float | None = None, y: float | None = None) -> None:
        """Add a line across the frame at a value of `x` or `y`."""
        if x is not None:
            at = self.x(x)
            self._add('<path class="{css}" d="M{a} {b}V{c}"/>', css=css, a=at, b=self.y.start, c=self.y.end)
        if y is not None:
            at = self.y(y)
            self._add('<path class="{css}" d="M{a} {b}H{c}"/>', css=css, a=self.x.start, b=at, c=self.x.end)

    def text(self, px: float, py: float, words: str, css: str = "t", anchor: str = "start", *, turn: int = 0) -> None:
        """Add text at a position in drawing units; `anchor` is start, middle or end, `turn` is in degrees."""
        rotation = Markup(' transform="rotate({} {} {})"').format(turn, f"{px:.1f}", f"{py:.1f}") if turn else ""
        self._add(
            '<text class="{css}" x="{x}" y="{y}" text-anchor="{a}"{r}>{t}</text>',
            css=css, x=float(px), y=float(py), a=anchor, r=rotation, t=visible(words),
        )  # fmt: skip

    def axes(self, x_ticks: Ticks, y_ticks: Ticks, x_label: str, y_label: str) -> None:
        """Add grid lines, tick labels and axis titles. Call this first so that marks are drawn on top."""
        for value, label in y_ticks:
            self.rule("grid", y=value)
            self.text(self.x.start - 6, self.y(value) + 4, label, anchor="end")
        for value, label in x_ticks:
            self.rule("grid", x=value)
            self.text(self.x(value), self.y.start + 16, label, anchor="middle")
        self.rule("axis", y=self.y.low)
        self.text((self.x.start + self.x.end) / 2, self.height - 5, x_label, "t title", "middle")
        self.text(11, (self.y.start + self.y.end) / 2, y_label, "t title", "middle", turn=-90)

    def legend(self, entries: Sequence[tuple[str, str]], py: float = 12) -> None:
        """Add a legend above the frame; each entry is (CSS class of the line, label)."""
        px = self.x.start
        for css, label in entries:
            self._add('<path class="{css}" d="M{a} {b}h18"/>', css=css, a=float(px), b=py - 4.0)
            self.text(px + 23, py, label)
            px += 23 + 6.4 * len(label) + 14

    def render(self, slug: str, title: str, description: str) -> Markup:
        """Return the drawing with an accessible title and description. `slug` makes its ids unique on the page."""
        return Markup(
            '<svg viewBox="0 0 {w} {h}" role="img" aria-labelledby="{s}-t {s}-d">'
            '<title id="{s}-t">{t}</title><desc id="{s}-d">{d}</desc>{marks}</svg>'
        ).format(w=self.width, h=self.height, s=slug, t=title, d=description, marks=Markup("").join(self._marks))

    def render_mini(self, label: str) -> Markup:
        """Return the drawing for a table cell, with `label` as its accessible name."""
        return Markup('<svg class="mini" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            self.width, self.height, visible(label), Markup("").join(self._marks)
        )
