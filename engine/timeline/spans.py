"""Suspicious spans: parts of a clip whose windows are scored as fake."""

from __future__ import annotations

import numpy as np

from engine.timeline.types import Span, Timeline

SMOOTHED_WINDOWS = 3
"""Window scores are averaged over this many windows, because the scores of short windows are noisy."""


def suspicious_spans(timeline: Timeline, threshold: float, duration_s: float) -> tuple[Span, ...]:
    """Return the parts of a clip whose smoothed score reaches a threshold, by start.

    A window stands for the second in its middle; the first and the last one also for what precedes and follows.

    Args:
        timeline: the time line.
        threshold: probability of fake in [0, 1].
        duration_s: duration of the clip.
    """
    scores = smoothed(timeline.score)
    with np.errstate(invalid="ignore"):
        suspicious = scores >= threshold
    edges = np.flatnonzero(np.diff(np.concatenate([[False], suspicious, [False]]).astype(int)))
    spans = []
    for first, after in edges.reshape(-1, 2).tolist():
        start_s, end_s = (
            middle_second(timeline, first, duration_s)[0],
            middle_second(timeline, after - 1, duration_s)[1],
        )
        spans.append(
            Span(start_s, end_s, float(np.nanmax(scores[first:after])), leading_expert(timeline, first, after))
        )
    return tuple(spans)


def smoothed(scores: np.ndarray) -> np.ndarray:
    """Return the mean of each score (N,) and its neighbours, without NaN; NaN stays NaN."""
    known = np.isfinite(scores)
    kernel = np.ones(SMOOTHED_WINDOWS)
    total = np.convolve(np.where(known, scores, 0.0), kernel, "same")[: len(scores)]
    count = np.convolve(known.astype(float), kernel, "same")[: len(scores)]
    if len(scores) < SMOOTHED_WINDOWS:
        total, count = np.full(len(scores), np.nansum(scores)), np.full(len(scores), known.sum())
    return np.where(known, total / np.maximum(count, 1), np.nan)


def middle_second(timeline: Timeline, number: int, duration_s: float) -> tuple[float, float]:
    """Return start and end of the part of the clip that a window stands for."""
    middle_s = (timeline.start_s[number] + timeline.end_s[number]) / 2
    start_s = 0.0 if number == 0 else middle_s - 0.5
    end_s = duration_s if number == len(timeline) - 1 else middle_s + 0.5
    return float(max(0.0, start_s)), float(min(duration_s, end_s))


def leading_expert(timeline: Timeline, first: int, after: int) -> str:
    """Return the expert with the largest mean evidence in windows `first` to `after`; empty without evidence."""
    means = {
        expert: float(np.nanmean(values[first:after]))
        for expert, values in timeline.evidence.items()
        if np.isfinite(values[first:after]).any()
    }
    return max(means, key=means.__getitem__, default="")
