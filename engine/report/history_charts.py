"""Charts of loss and validation AUC over the epochs of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.report.inputs import number
from engine.report.svg import BOTTOM, LEFT, RIGHT, TOP, Chart, Plot, Scale, nice_ticks
from engine.report.text import csv_uri, fixed


def _series(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    points = ((number(row.get("epoch", index + 1)), number(row.get(key))) for index, row in enumerate(history))
    return [(x, y) for x, y in points if x is not None and y is not None]


def history_charts(history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Draw loss and validation AUC per epoch; return an empty list without history."""
    if not history:
        return []
    keys = list(dict.fromkeys(key for row in history for key in row))
    csv = csv_uri(keys, ([row.get(key) for key in keys] for row in history))
    specs = (
        ("loss", "Loss", "loss", {"train_loss": ("line main", "training"), "val_loss": ("line other", "validation")}),
        ("val-auc", "Validation AUC", "AUC", {"val_auc": ("line main", "validation")}),
    )
    charts = []
    for slug, title, axis, names in specs:
        series = {key: _series(history, key) for key in names}
        drawn = {key: points for key, points in series.items() if points}
        if not drawn:
            charts.append(Chart(slug, title, missing=f"The training history has no {' or '.join(names)}."))
            continue
        charts.append(_history_chart(slug, title, axis, {names[key]: points for key, points in drawn.items()}, csv))
    return charts


def _history_chart(
    slug: str, title: str, axis: str, series: Mapping[tuple[str, str], list[tuple[float, float]]], csv: str
) -> Chart:
    epochs = [x for points in series.values() for x, _ in points]
    values = [y for points in series.values() for _, y in points]
    low, high = min(values), max(values)
    margin = max((high - low) * 0.08, 0.01)
    low, high = (max(0.0, low - margin), min(1.0, high + margin)) if axis == "AUC" else (low - margin, high + margin)
    first, last = min(epochs), max(epochs)
    plot = Plot(Scale(first, last, LEFT + 6, RIGHT - 6), Scale(low, high, BOTTOM, TOP))
    x_ticks = [(value, f"{value:g}") for value in nice_ticks(first, last, 6) if float(value).is_integer()]
    y_ticks = [(value, f"{value:g}") for value in nice_ticks(low, high, 5)]
    plot.axes(x_ticks, y_ticks, "epoch", axis)
    for (css, _), points in series.items():
        plot.path(points, css)
        if len(points) <= 40:
            for x, y in points:
                plot.dot(x, y, 2.2, f"point {css.split()[-1]}")
    plot.legend(list(series))
    caption = ""
    if axis == "AUC":
        best = max(next(iter(series.values())), key=lambda point: point[1])
        plot.dot(*best, 5, "mark")
        caption = (
            f"Best epoch: {best[0]:g}, validation AUC {fixed(best[1], 4)}. Epochs are selected on validation data only."
        )
    header = ("Epoch", *(label for _, label in series))
    lookup = [dict(points) for points in series.values()]
    rows = [(f"{epoch:g}", *(fixed(points.get(epoch), 4) for points in lookup)) for epoch in sorted(set(epochs))]
    described = f"{title} per epoch. " + (caption or f"From {fixed(values[0])} at epoch {first:g}.")
    return Chart(slug, title, plot.render(slug, f"{title} per epoch", described), caption, csv, header, rows[:200])
