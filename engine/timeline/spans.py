"""Suspicious spans: parts of a clip that are scored as fake or stand out from the rest."""

from __future__ import annotations

import numpy as np

from engine.timeline.contrast import contrast_spans
from engine.timeline.types import Span, Timeline
from utils.metrics.calibration import Calibration

SMOOTHED_WINDOWS = 3
"""Window scores are averaged over this many windows, because the scores of short windows are noisy."""

MOST_FAKE = 0.5
"""If a larger share of a clip is scored as fake, the rest of the clip is no reference."""


def suspicious_spans(timeline: Timeline, calibration: Calibration, duration_s: float) -> tuple[Span, ...]:
    """Return the suspicious parts of a clip, by start.

    These are the parts whose scores reach the fake threshold, and the parts that stand out from the rest of the clip. The
    latter have more accurate limits, so they replace overlapping ones of the first kind unless those cover most of the clip.

    Args:
        timeline: the time line.
        calibration: the clip's calibration.
        duration_s: duration of the clip.
    """
    fake = fake_spans(timeline, calibration.threshold, duration_s)
    if sum(span.end_s - span.start_s for span in fake) > MOST_FAKE * duration_s:
        return fake
    standing_out = contrast_spans(timeline, calibration, duration_s)
    alone = [span for span in fake if not any(meet(span, other) for other in standing_out)]
    return tuple(sorted([*standing_out, *alone], key=lambda span: span.start_s))


def meet(one: Span, other: Span) -> bool:
    """Return whether two parts overlap."""
    return one.start_s < other.end_s and other.start_s < one.end_s


def fake_spans(timeline: Timeline, threshold: float, duration_s: float) -> tuple[Span, ...]:
    """Return the parts of a clip whose smoothed score reaches a threshold, a probability of fake in [0, 1], by start."""
    scores = smoothed(timeline.score)
    with np.errstate(invalid="ignore"):
        suspicious = scores >= threshold
    edges = np.flatnonzero(np.diff(np.concatenate([[False], suspicious, [False]]).astype(int)))
    return tuple(
        Span(
            *timeline.seconds_of(first, after, duration_s),
            float(np.nanmax(scores[first:after])),
            timeline.leading_expert(first, after),
        )
        for first, after in edges.reshape(-1, 2).tolist()
    )


def smoothed(scores: np.ndarray) -> np.ndarray:
    """Return the mean of each score (N,) and its neighbours, without NaN; NaN stays NaN."""
    known = np.isfinite(scores)
    kernel = np.ones(SMOOTHED_WINDOWS)
    total = np.convolve(np.where(known, scores, 0.0), kernel, "same")[: len(scores)]
    count = np.convolve(known.astype(float), kernel, "same")[: len(scores)]
    if len(scores) < SMOOTHED_WINDOWS:
        total, count = np.full(len(scores), np.nansum(scores)), np.full(len(scores), known.sum())
    return np.where(known, total / np.maximum(count, 1), np.nan)
