"""Parts of a clip whose evidence stands out from the rest of the clip.

Scores of different sources have no common scale, but a partly forged clip brings its own reference: its genuine part. The
evidence of each window is therefore compared with that of the clip's least suspicious windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from engine.timeline.types import Span, Timeline
from utils.metrics.calibration import Calibration

NOT_LOCAL = ("motion",)
"""Experts that need more than a window: the evidence of *motion* does not separate forged from genuine windows of a clip."""

REFERENCE_QUANTILE = 0.3
"""This quantile of a clip's windows is its reference. It is genuine as long as most of the clip is."""

LEAST_CONTRAST = 0.3
"""A window supports a part if its evidence, in log-odds, exceeds the reference by more than this."""

LEAST_TOTAL = 1.5
"""Minimum of the summed excess of a part's windows."""

MOST_SHARE = 0.75
"""Maximum share of the windows in one part. A longer one has no reference to stand out from."""

LEAST_WINDOWS = 4
"""Minimum number of scored windows of a clip."""


def contrast_spans(timeline: Timeline, calibration: Calibration, duration_s: float) -> tuple[Span, ...]:
    """Return the parts of a clip that stand out from the rest, by start.

    A part is a run of windows with the largest total excess over the reference (maximal scoring segments, Ruzzo and Tompa,
    1999). Its score is the probability of fake that its most suspicious window would have in an otherwise typical clip.
    `docs/LOG.md` (S6) compares the constants with others.

    Args:
        timeline: the time line.
        calibration: the clip's calibration.
        duration_s: duration of the clip.
    """
    local = {expert: values for expert, values in timeline.evidence.items() if expert not in NOT_LOCAL}
    excess = above_reference(added(local.values(), len(timeline)))
    relative = replace(timeline, evidence={expert: above_reference(values) for expert, values in local.items()})
    spans = []
    for first, after in best_runs(excess - LEAST_CONTRAST, LEAST_TOTAL):
        if after - first <= MOST_SHARE * len(timeline):
            start_s, end_s = timeline.seconds_of(first, after, duration_s)
            score = float(calibration.score(excess[first:after].max()))
            spans.append(Span(start_s, end_s, score, relative.leading_expert(first, after), "contrast"))
    return tuple(sorted(spans, key=lambda span: span.start_s))


def added(series: Iterable[np.ndarray], n_windows: int) -> np.ndarray:
    """Return the sum (N,) of evidence; an expert that abstains adds 0, and a window that none scores is NaN."""
    values = np.array([np.full(n_windows, np.nan), *series])
    return np.where(np.isfinite(values).any(axis=0), np.nansum(values, axis=0), np.nan)


def above_reference(evidence: np.ndarray) -> np.ndarray:
    """Return evidence (N,) above the reference of the clip; 0 without evidence, or if fewer than `LEAST_WINDOWS` have some."""
    if np.isfinite(evidence).sum() < LEAST_WINDOWS:
        return np.zeros(len(evidence))
    return np.nan_to_num(evidence - np.nanquantile(evidence, REFERENCE_QUANTILE))


def best_runs(values: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Return disjoint runs (first, after) with the largest sums, from the largest down to `least`."""
    left = values.astype(float)
    runs: list[tuple[int, int]] = []
    while True:
        total, first, after = best_run(left)
        if total < least:
            return runs
        runs.append((first, after))
        left[first:after] = -np.inf


def best_run(values: np.ndarray) -> tuple[float, int, int]:
    """Return the largest sum of consecutive values, and the run (first, after); 0 for an empty run (Kadane's algorithm)."""
    best = (0.0, 0, 0)
    total, first = 0.0, 0
    for number, value in enumerate(values.tolist()):
        if total <= 0:
            total, first = 0.0, number
        total += value
        if total > best[0]:
            best = (total, first, number + 1)
    return best
