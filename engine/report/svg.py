"""Scales, axes and marks of a small chart as inline SVG.

The page's stylesheet colours everything through classes, so that one drawing serves light, dark and print. Drawings are
360 units wide: at that width (a phone) text has its nominal size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from markupsafe import Markup

from engine.report.text import visible

Point = tuple[float, float]
Ticks = Sequence[tuple[float, str]]
SEEN_APART = 0.4
"""Distance in drawing units below which two points of a line look like one."""


@dataclass(frozen=True)
class Scale:
    """Maps a value in [low, high] to a coordinate; values outside are clipped to the ends.

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
        """The coordinate of `value`."""
        value = min(max(float(value), self.low), self.high)
        low, high = self._warped_ends
        share = 0.5 if high == low else (self._warp(value) - low) / (high - low)
        return self.start + share * (self.end - self.start)


def nice_ticks(low: float, high: float, target: int = 5) -> list[float]:
    """About `target` round values (steps of 1, 2 or 5 times a power of ten) within [low, high]."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / max(target, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def staircase(x: np.ndarray, y: np.ndarray) -> list[Point]:
    """Points of a step line through (x, y), along x and then up: nothing is claimed between two thresholds."""
    points: list[Point] = [(float(x[0]), float(y[0]))]
    for index in range(1, len(x)):
        points += [(float(x[index]), float(y[index - 1])), (float(x[index]), float(y[index]))]
    return points


class Plot:
    """One chart: a frame with two scales, to which marks are added in drawing order."""

    def __init__(self, x: Scale, y: Scale, *, width: int = 360, height: int = 250) -> None:
        """`x` and `y` give the frame's edges in drawing units; `y.start` is the bottom."""
        self.x, self.y, self.width, self.height = x, y, width, height
        self._marks: list[Markup] = []

    def _add(self, template: str, **values: object) -> None:
        shown = {key: f"{value:.1f}" if isinstance(value, float) else value for key, value in values.items()}
        self._marks.append(Markup(template).format(**shown))

    def path(self, points: Sequence[Point], css: str, *, close: bool = False) -> None:
        """A line (or, closed, an area) through data points; a point too near the one before to be seen is left out."""
        drawn: list[Point] = []
        for index, (px, py) in enumerate(points):
            at = (self.x(px), self.y(py))
            near = drawn and max(abs(at[0] - drawn[-1][0]), abs(at[1] - drawn[-1][1])) < SEEN_APART
            if not near or index == len(points) - 1:
                drawn.append(at)
        if drawn:
            d = "L".join(f"{px:.1f} {py:.1f}" for px, py in drawn)
            self._add('<path class="{css}" d="M{d}{z}"/>', css=css, d=d, z="Z" if close else "")

    def rect(self, x0: float, x1: float, y0: float, y1: float, css: str) -> None:
        """A box between two data corners."""
        left, right = sorted((self.x(x0), self.x(x1)))
        top, bottom = sorted((self.y(y0), self.y(y1)))
        if right > left and bottom > top:
            self._add(
                '<rect class="{css}" x="{x}" y="{y}" width="{w}" height="{h}"/>',
                css=css, x=left, y=top, w=right - left, h=bottom - top,
            )  # fmt: skip

    def dot(self, x: float, y: float, radius: float, css: str) -> None:
        """A disc at a data position; `radius` in drawing units."""
        self._add(
            '<circle class="{css}" cx="{x}" cy="{y}" r="{r}"/>', css=css, x=self.x(x), y=self.y(y), r=float(radius)
        )

    def rule(self, css: str, *, x: float | None = None, y: float | None = None) -> None:
        """A line across the frame at one value of `x` or of `y`."""
        if x is not None:
            at = self.x(x)
            self._add('<path class="{css}" d="M{a} {b}V{c}"/>', css=css, a=at, b=self.y.start, c=self.y.end)
        if y is not None:
            at = self.y(y)
            self._add('<path class="{css}" d="M{a} {b}H{c}"/>', css=css, a=self.x.start, b=at, c=self.x.end)

    def text(self, px: float, py: float, words: str, css: str = "t", anchor: str = "start", *, turn: int = 0) -> None:
        """Words at a position in drawing units; `anchor` start, middle or end; `turn` in degrees."""
        rotation = Markup(' transform="rotate({} {} {})"').format(turn, f"{px:.1f}", f"{py:.1f}") if turn else ""
        self._add(
            '<text class="{css}" x="{x}" y="{y}" text-anchor="{a}"{r}>{t}</text>',
            css=css, x=float(px), y=float(py), a=anchor, r=rotation, t=visible(words),
        )  # fmt: skip

    def axes(self, x_ticks: Ticks, y_ticks: Ticks, x_label: str, y_label: str) -> None:
        """Grid lines, tick labels and axis titles; drawn first, so that marks lie above them."""
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
        """A row above the frame: (class of the line, label) each."""
        px = self.x.start
        for css, label in entries:
            self._add('<path class="{css}" d="M{a} {b}h18"/>', css=css, a=float(px), b=py - 4.0)
            self.text(px + 23, py, label)
            px += 23 + 6.4 * len(label) + 14

    def render(self, slug: str, title: str, description: str) -> Markup:
        """The drawing, named and described for those who do not see it. `slug` makes its ids unique on the page."""
        return Markup(
            '<svg viewBox="0 0 {w} {h}" role="img" aria-labelledby="{s}-t {s}-d">'
            '<title id="{s}-t">{t}</title><desc id="{s}-d">{d}</desc>{marks}</svg>'
        ).format(w=self.width, h=self.height, s=slug, t=title, d=description, marks=Markup("").join(self._marks))

    def render_mini(self, label: str) -> Markup:
        """The drawing as a small one for a table's row, named by `label`."""
        return Markup('<svg class="mini" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            self.width, self.height, visible(label), Markup("").join(self._marks)
        )
