"""Charts of the score distribution and the reliability diagram."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.report.inputs import ReportedMetric, Scored, number
from engine.report.svg import BOTTOM, LEFT, RIGHT, TOP, UNIT_TICKS, Chart, Plot, Scale, nice_ticks
from engine.report.text import count, csv_uri, fixed, plural
from utils.metrics.calibration import Calibration, Verdict
from utils.metrics.reliability import reliability_table


def score_chart(
    scored: Scored, threshold: float | None, split: str, real_threshold: float | None = None, bins: int = 25
) -> Chart:
    """Draw score histograms, as shares of each class: fakes above the zero line, reals below it.

    Args:
        scored: The labelled clips that have a score.
        threshold: Score from which a clip is called fake; ``None`` to draw no threshold.
        split: Name of the split, for the axis.
        real_threshold: Score below which a clip is called real; ``None`` if it equals ``threshold``.
        bins: Number of bins.
    """
    known = ~np.isnan(scored.score)
    if not known.any():
        return Chart("scores", "Scores", missing="No clip with a target has a score, so there is nothing to draw.")
    edges = np.linspace(0, 1, bins + 1)
    fake, real = (np.histogram(scored.score[known & (scored.target == kind)], edges)[0] for kind in (1, 0))
    shares = [counts / max(counts.sum(), 1) for counts in (fake, real)]
    top = max(0.05, max(float(share.max()) for share in shares) * 1.08)
    plot = Plot(Scale(0, 1, LEFT, RIGHT), Scale(-top, top, BOTTOM, TOP))
    plot.axes(
        UNIT_TICKS,
        [(value, f"{100 * abs(value):g}") for value in nice_ticks(-top, top, 6)],
        f"score, probability of fake ({split})",
        "share of its class (%)",
    )
    for sign, share, css in ((1, shares[0], "fake"), (-1, shares[1], "real")):
        for index in range(bins):
            gap = 0.12 / bins
            plot.rect(edges[index] + gap, edges[index + 1] - gap, 0, sign * float(share[index]), f"bar {css}")
    plot.rule("axis", y=0)
    plot.text(LEFT + 8, TOP + 14, f"fake ({count(fake.sum())})", "t strong fake")
    plot.text(RIGHT - 6, BOTTOM - 7, f"real ({count(real.sum())})", "t strong real", "end")
    caption = "Fakes are above the zero line, real clips below it."
    if threshold is not None and 0 <= threshold <= 1:
        mark_thresholds(plot, threshold, real_threshold)
        caption += f" {_errors(scored, threshold, real_threshold)}"
    rows = [
        (f"{edges[index]:.2f}\u2013{edges[index + 1]:.2f}", count(fake[index]), count(real[index]))
        for index in range(bins)
        if fake[index] or real[index]
    ]
    data = zip(edges[:-1].round(4), edges[1:].round(4), fake, real, strict=True)
    return Chart(
        "scores", "Scores", svg=plot.render("scores", "Histogram of scores", caption), caption=caption,
        csv=csv_uri(("score_from", "score_to", "n_fake", "n_real"), data), header=("Score", "Fake", "Real"), rows=rows,
    )  # fmt: skip


def _errors(scored: Scored, threshold: float, real_threshold: float | None) -> str:
    """Count the clips with a wrong verdict and, with two thresholds, the inconclusive ones."""
    real_below = threshold if real_threshold is None else real_threshold
    called_fake, called_real = scored.score >= threshold, scored.score < real_below
    missed = plural(int((called_real & (scored.target == 1)).sum()), "missed fake")
    alarms = plural(int((called_fake & (scored.target == 0)).sum()), "false alarm")
    if real_below == threshold:
        return f"At the threshold: {missed}, {alarms}."
    between = int(((scored.score >= real_below) & (scored.score < threshold)).sum())
    return f"At the thresholds: {missed}, {alarms}, {plural(between, 'inconclusive clip')}."


def mark_thresholds(plot: Plot, threshold: float, real_threshold: float | None) -> None:
    """Add a line at each threshold, with a label."""
    plot.rule("threshold", x=threshold)
    if real_threshold is None or real_threshold == threshold:
        side = "start" if threshold < 0.15 else "end" if threshold > 0.85 else "middle"
        plot.text(plot.x(threshold), TOP - 6, f"threshold {threshold:.3f}", "t strong", side)
        return
    plot.rule("threshold", x=real_threshold)
    # One label for both lines: two labels overlap if the thresholds are close.
    label = f"real below {real_threshold:.3f}, fake from {threshold:.3f}"
    plot.text(0.5 * (LEFT + RIGHT), TOP - 6, label, "t strong", "middle")


def verdict_counts(score: np.ndarray, calibration: Calibration, edges: np.ndarray) -> dict[Verdict, np.ndarray]:
    """Return verdict -> number of scores in each bin; a bin that contains a threshold has scores of two verdicts."""
    verdicts = np.array([calibration.verdict(float(value)) for value in score])
    order: tuple[Verdict, ...] = ("real", "inconclusive", "fake")
    return {verdict: np.histogram(score[verdicts == verdict], edges)[0] for verdict in order}


def unlabelled_chart(score: np.ndarray, calibration: Calibration, bins: int = 25) -> Chart:
    """Draw a histogram of the scores (N,) of unlabelled clips, coloured by verdict; NaN marks unscored clips."""
    known = score[~np.isnan(score)]
    if not len(known):
        return Chart("scores", "Scores", missing="No clip was scored, so there is nothing to draw.")
    edges = np.linspace(0, 1, bins + 1)
    parts = verdict_counts(known, calibration, edges)
    counts = np.sum(list(parts.values()), axis=0)
    top = float(counts.max()) * 1.08
    plot = Plot(Scale(0, 1, LEFT, RIGHT), Scale(0, top, BOTTOM, TOP))
    ticks = [value for value in nice_ticks(0, top, 5) if value == int(value)]
    plot.axes(UNIT_TICKS, [(value, count(value)) for value in ticks], "score, probability of fake", "clips")
    bottom = np.zeros(bins)
    for verdict, heights in parts.items():
        for index in np.flatnonzero(heights):
            left, right = edges[index] + 0.12 / bins, edges[index + 1] - 0.12 / bins
            plot.rect(left, right, float(bottom[index]), float(bottom[index] + heights[index]), f"bar {verdict}")
        bottom += heights
    mark_thresholds(plot, calibration.threshold, calibration.real_threshold)
    above, below = int(calibration.is_fake(known).sum()), int(calibration.is_real(known).sum())
    caption = f"{plural(above, 'clip')} at or above the threshold, {plural(below, 'clip')} below it."
    if between := len(known) - above - below:
        caption = (
            f"{plural(above, 'clip')} called fake, {plural(below, 'clip')} called real, {count(between)} inconclusive."
        )
    rows = [
        (f"{edges[index]:.2f}\u2013{edges[index + 1]:.2f}", count(height))
        for index, height in enumerate(counts)
        if height
    ]
    data = zip(edges[:-1].round(4), edges[1:].round(4), counts, strict=True)
    return Chart(
        "scores", "Scores", svg=plot.render("scores", "Histogram of scores", caption), caption=caption,
        csv=csv_uri(("score_from", "score_to", "n"), data), header=("Score", "Clips"), rows=rows,
    )  # fmt: skip


@dataclass(frozen=True)
class Bin:
    """A non-empty bin of the reliability diagram: mean score, share of fakes, and number of clips."""

    mean_score: float
    fake_share: float
    n: int


def reliability_bins(metrics: Mapping[str, Any], scored: Scored) -> list[Bin]:
    """Return the non-empty bins of the `reliability` table or, without one, of the predictions' scores."""
    table = metrics.get("reliability")
    if not isinstance(table, Sequence) or isinstance(table, str):
        probable = (scored.score >= 0) & (scored.score <= 1)
        table = [row._asdict() for row in reliability_table(scored.target[probable], scored.score[probable])]
    found = []
    for row in table:
        score, share, n = (number(row.get(name)) for name in ("mean_score", "fake_share", "n"))
        if score is not None and share is not None and n:
            found.append(Bin(score, share, int(n)))
    return found


def reliability_chart(metrics: Mapping[str, Any], scored: Scored, ece: ReportedMetric, split: str) -> Chart:
    """Draw the observed share of fakes against the mean score; the area of a dot is its number of clips."""
    bins = reliability_bins(metrics, scored)
    if not bins:
        missing = "No clip with a target has a score, so calibration cannot be shown."
        return Chart("reliability", "Reliability", missing=missing)
    plot = Plot(Scale(0, 1, LEFT, RIGHT), Scale(0, 1, BOTTOM, TOP))
    plot.axes(UNIT_TICKS, UNIT_TICKS, f"predicted probability of fake ({split})", "observed share of fakes")
    plot.path([(0, 0), (1, 1)], "chance")
    plot.path([(entry.mean_score, entry.fake_share) for entry in bins], "line other")
    largest = max(entry.n for entry in bins)
    for entry in bins:
        plot.path([(entry.mean_score, entry.mean_score), (entry.mean_score, entry.fake_share)], "gap")
        plot.dot(entry.mean_score, entry.fake_share, 3 + 7 * math.sqrt(entry.n / largest), "mark soft")
    caption = "On the diagonal the score equals the observed share of fakes. The area of a dot is its number of clips."
    if ece.value is not None:
        plot.text(RIGHT - 6, BOTTOM - 9, f"ECE {fixed(ece.value)}", "t strong", "end")
    rows = [(fixed(entry.mean_score), fixed(entry.fake_share), count(entry.n)) for entry in bins]
    data = ((f"{entry.mean_score:.6g}", f"{entry.fake_share:.6g}", entry.n) for entry in bins)
    return Chart(
        "reliability", "Reliability", svg=plot.render("reliability", "Reliability diagram", caption), caption=caption,
        csv=csv_uri(("predicted", "observed", "n"), data), header=("Predicted", "Observed", "Clips"), rows=rows,
    )  # fmt: skip
