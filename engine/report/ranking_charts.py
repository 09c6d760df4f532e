"""Charts of ROC, ROC at low false positive rates, and DET."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.report.inputs import ReportedMetric, Scored, scored_rows
from engine.report.svg import BOTTOM, LEFT, PERCENT_TICKS, RIGHT, TOP, Chart, Plot, Scale, Ticks, staircase
from engine.report.text import csv_uri, percent, plural
from utils.metrics.ranking import RocCurve, resolves_rate, roc_curve

MAX_CSV_POINTS = 1500
LOW_FPR = 0.1
OPERATING_FPRS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2)
_PROBIT_TICKS: Ticks = [(value, f"{100 * value:g}") for value in (0.001, 0.01, 0.05, 0.2, 0.5, 0.8)]


def roc_of(scored: Scored) -> RocCurve | None:
    """Compute the ROC curve of the scored clips; None unless both classes are present."""
    return roc_curve(scored.target, scored.rank) if scored.has_both else None


def _tpr_at(curve: RocCurve, fpr: float) -> float:
    return float(curve.tpr[curve.fpr <= fpr * (1 + 1e-12)].max())


def missing_curve_reason(scored: Scored) -> str:
    """Return why there is no ROC curve."""
    if scored.n_fake + scored.n_real == 0:
        return "No clip with a target was scored, so there is nothing to draw."
    present = "fake" if scored.n_fake else "real"
    return f"Only {present} clips were scored; a curve needs both classes."


def _thinned(length: int) -> np.ndarray:
    return np.unique(np.linspace(0, length - 1, min(length, MAX_CSV_POINTS)).round().astype(int))


def _roc_csv(curve: RocCurve, highest_fpr: float = 1.0) -> str:
    keep = _thinned(max(int((curve.fpr <= highest_fpr).sum()), 1))
    columns = zip(curve.fpr[keep], curve.tpr[keep], curve.threshold[keep], strict=True)
    return csv_uri(("fpr", "tpr", "logit_at_least"), ([f"{value:.6g}" for value in row] for row in columns))


def _operating_rows(curve: RocCurve, n_real: int) -> list[tuple[str, str]]:
    unresolved = f"not resolved by {plural(n_real, 'real clip')}"
    return [
        (f"{100 * rate:g} %", percent(_tpr_at(curve, rate)) if resolves_rate(n_real, rate) else unresolved)
        for rate in OPERATING_FPRS
    ]


def _legend(plot: Plot, split: str, other: tuple[str, RocCurve] | None) -> None:
    entries = [("line main", split)] + ([("line other", other[0])] if other else [])
    plot.legend(entries)


def roc_chart(scored: Scored, split: str, other: tuple[str, RocCurve] | None) -> Chart:
    """Draw the ROC with linear axes; `other` is the curve of a second split, drawn thinner for comparison."""
    curve = roc_of(scored)
    if curve is None:
        return Chart("roc", "ROC", missing=missing_curve_reason(scored))
    plot = Plot(Scale(0, 1, LEFT, RIGHT), Scale(0, 1, BOTTOM, TOP))
    plot.axes(PERCENT_TICKS, PERCENT_TICKS, "real clips called fake (FPR, %)", "fakes found (TPR, %)")
    plot.path([(0, 0), (1, 1)], "chance")
    if other:
        plot.path(list(zip(other[1].fpr, other[1].tpr, strict=True)), "line other")
    plot.path([(0, 0), *zip(curve.fpr, curve.tpr, strict=True), (1, 0)], "area", close=True)
    plot.path(list(zip(curve.fpr, curve.tpr, strict=True)), "line main")
    _legend(plot, split, other)
    sizes = f"{plural(scored.n_fake, 'fake')} against {plural(scored.n_real, 'real clip')}"
    caption = f"{sizes}. The dashed diagonal is chance."
    rows = _operating_rows(curve, scored.n_real)
    described = "ROC curve. " + "; ".join(f"at FPR {rate} TPR {found}" for rate, found in rows)
    svg = plot.render("roc", "ROC curve", described)
    return Chart("roc", "ROC", svg=svg, caption=caption, csv=_roc_csv(curve), header=("FPR at most", "TPR"), rows=rows)


def low_fpr_chart(scored: Scored, split: str, other: tuple[str, RocCurve] | None) -> Chart:
    """Draw the ROC with a logarithmic FPR axis; FPRs below 1 / n_real, which cannot be resolved, are hatched."""
    curve = roc_of(scored)
    if curve is None:
        return Chart("roc-low-fpr", "ROC at low false positive rates", missing=missing_curve_reason(scored))
    finest = 1 / scored.n_real
    lowest = min(1e-3, 10.0 ** math.floor(math.log10(finest)))
    plot = Plot(Scale(lowest, 1, LEFT, RIGHT, "log"), Scale(0, 1, BOTTOM, TOP))
    decades = [10.0**power for power in range(round(math.log10(lowest)), 1)]
    plot.rect(lowest, finest, 0, 1, "unresolved")
    plot.axes(
        [(value, f"{100 * value:g}") for value in decades],
        PERCENT_TICKS,
        "real clips called fake (FPR, %, log scale)",
        "fakes found (TPR, %)",
    )
    plot.path([(10 ** (step / 20), 10 ** (step / 20)) for step in range(20 * round(math.log10(lowest)), 1)], "chance")
    if other:
        plot.path(staircase(other[1].fpr, other[1].tpr), "line other")
    plot.path(staircase(curve.fpr, curve.tpr), "line main")
    _legend(plot, split, other)
    caption = (
        f"Hatched: below 1/{scored.n_real} = {percent(finest, 2)} a false positive rate corresponds to less than one real "
        "clip, so the curve is not meaningful there."
    )
    svg = plot.render("roc-low", "ROC curve, logarithmic false positive rate", caption)
    data = _roc_csv(curve, LOW_FPR)
    return Chart("roc-low-fpr", "ROC at low false positive rates", svg=svg, caption=caption, csv=data)


def det_chart(scored: Scored, split: str, other: tuple[str, RocCurve] | None, eer: ReportedMetric) -> Chart:
    """Draw the detection error trade-off on normal-deviate axes, with the equal error rate marked."""
    curve = roc_of(scored)
    if curve is None:
        return Chart("det", "DET", missing=missing_curve_reason(scored))
    low, high = 0.0008, 0.85
    plot = Plot(Scale(low, high, LEFT, RIGHT, "probit"), Scale(low, high, BOTTOM, TOP, "probit"))
    plot.rect(low, max(1 / scored.n_real, low), low, high, "unresolved")
    plot.rect(low, high, low, max(1 / scored.n_fake, low), "unresolved")
    plot.axes(_PROBIT_TICKS, _PROBIT_TICKS, "real clips called fake (FPR, %)", "fakes missed (FNR, %)")
    plot.path([(low, low), (high, high)], "chance")
    if other:
        plot.path(staircase(other[1].fpr, 1 - other[1].tpr), "line other")
    plot.path(staircase(curve.fpr, 1 - curve.tpr), "line main")
    if eer.value is not None:
        plot.dot(eer.value, eer.value, 4.5, "mark")
        plot.text(plot.x(eer.value) + 9, plot.y(eer.value) - 6, f"EER {percent(eer.value)}", "t strong")
    _legend(plot, split, other)
    caption = (
        "Both error rates on normal-deviate axes. Lower left is better; on the diagonal both rates are equal. "
        "Hatched: rates that correspond to less than one clip."
    )
    svg = plot.render("det", "Detection error trade-off", f"{caption} Equal error rate {percent(eer.value)}.")
    keep = _thinned(len(curve.fpr))
    data = ((f"{fpr:.6g}", f"{1 - tpr:.6g}") for fpr, tpr in zip(curve.fpr[keep], curve.tpr[keep], strict=True))
    return Chart("det", "DET", svg=svg, caption=caption, csv=csv_uri(("fpr", "fnr"), data))


def comparison_curve(predictions: Mapping[str, Any], evaluated: str) -> tuple[str, RocCurve] | None:
    """Return the first other split with predictions of both classes, and its curve."""
    for split, frame in predictions.items():
        if split != evaluated and (curve := roc_of(scored_rows(frame))) is not None:
            return split, curve
    return None
