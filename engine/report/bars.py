"""Small bars for table cells (AUC, score, evidence) and the headline bar."""

from __future__ import annotations

from markupsafe import Markup

from engine.report.inputs import ReportedMetric
from engine.report.svg import Plot, Scale
from engine.report.text import fixed
from utils.metrics import Calibration


def rail(low: float, high: float) -> Plot:
    """Return an empty small bar with a scale from `low` to `high`."""
    plot = Plot(Scale(low, high, 2.0, 118.0), Scale(0, 1, 15.0, 1.0), width=120, height=16)
    plot.rect(low, high, 0.3, 0.7, "rail")
    return plot


def auc_bar(auc: ReportedMetric, name: str) -> Markup:
    """Draw a small bar from chance (0.5, in the middle) to the AUC, with the interval as a whisker."""
    plot = rail(0, 1)
    if auc.value is not None:
        plot.rect(0.5, auc.value, 0.12, 0.88, "bar below" if auc.value < 0.5 else "bar main")
    if auc.low is not None and auc.high is not None:
        plot.path([(auc.low, 0.5), (auc.high, 0.5)], "whisker")
        for end in (auc.low, auc.high):
            plot.path([(end, 0.25), (end, 0.75)], "whisker")
    plot.rule("axis", x=0.5)
    label = f"{name}: AUC {fixed(auc.value)}" if auc.value is not None else f"{name}: no AUC"
    return plot.render_mini(label)


def score_bar(score: float | None, calibration: Calibration) -> Markup:
    """Draw a small bar from 0 to the score, coloured by its verdict, with a line at each threshold."""
    plot = rail(0, 1)
    if score is not None:
        plot.rect(0, score, 0.12, 0.88, f"bar {calibration.verdict(score)}")
    for threshold in calibration.thresholds.values():
        plot.rule("axis", x=threshold)
    marks = ", ".join(f"{verdict} threshold {fixed(value)}" for verdict, value in calibration.thresholds.items())
    return plot.render_mini(f"{'no score' if score is None else f'score {fixed(score)}'}, {marks}")


def evidence_bar(value: float | None, scale: float, name: str) -> Markup:
    """Draw a small bar from 0 (the middle) to a log-likelihood-ratio contribution; the bar ends at `scale`."""
    plot = rail(-scale, scale)
    if value is not None:
        plot.rect(0, value, 0.12, 0.88, "bar fake" if value > 0 else "bar real")
    plot.rule("axis", x=0)
    return plot.render_mini(f"{name}: none" if value is None else f"{name}: {fixed(value, 2)}")


def headline_bar(auc: ReportedMetric) -> Markup:
    """Draw the headline AUC on a scale from 0 to 1, with chance marked and the interval as a band."""
    plot = Plot(Scale(0, 1, 12.0, 348.0), Scale(0, 1, 34.0, 16.0), width=360, height=54)
    plot.rect(0, 1, 0.36, 0.64, "rail")
    if auc.low is not None and auc.high is not None:
        plot.rect(auc.low, auc.high, 0.1, 0.9, "interval")
    plot.rule("chance-mark", x=0.5)
    if auc.value is not None:
        plot.dot(auc.value, 0.5, 6, "mark")
    for value, words in ((0.0, "0"), (0.5, "0.5 chance"), (1.0, "1 perfect")):
        plot.text(plot.x(value), 50, words, "t", "start" if value == 0 else "middle" if value == 0.5 else "end")
    described = f"AUC {fixed(auc.value)}"
    if auc.has_interval:
        described += f", interval {fixed(auc.low)} to {fixed(auc.high)}"
    return plot.render("headline", "The AUC on its scale", described)
