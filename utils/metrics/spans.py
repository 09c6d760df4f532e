"""Metrics of temporal localisation: average precision at an overlap, and average recall of the best proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

SpanTimes = tuple[float, float]
ScoredSpan = tuple[float, float, float]

RECALL_OVERLAPS = np.arange(0.5, 0.96, 0.05)
"""Overlaps over which recall is averaged, as in AV-Deepfake1M (Cai et al., 2024)."""


def span_overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the intersection over union of two spans (start, end, ...), 0 to 1."""
    shared = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    union = (one[1] - one[0]) + (other[1] - other[0]) - shared
    return shared / union if union > 0 else 0.0


def span_average_precision(
    true: Mapping[str, Sequence[SpanTimes]], found: Mapping[str, Sequence[ScoredSpan]], least_overlap: float
) -> float | None:
    """Return the average precision of scored spans: the area under the interpolated precision-recall curve.

    Spans of all clips are ranked by score. A span is correct if its overlap with a true span of its clip that no better
    span has matched is at least `least_overlap`.

    Args:
        true: clip -> its true spans (start, end); a clip without fake part has none.
        found: clip -> spans (start, end, score).
        least_overlap: intersection over union in (0, 1].

    Returns:
        0 to 1; `None` without a true span.
    """
    total = sum(len(spans) for spans in true.values())
    if not total:
        return None
    ranked = sorted(((span, clip) for clip, spans in found.items() for span in spans), key=lambda item: -item[0][2])
    left = {clip: list(spans) for clip, spans in true.items()}
    correct = np.zeros(len(ranked), bool)
    for number, (span, clip) in enumerate(ranked):
        best = max(left.get(clip, []), key=lambda one: span_overlap(one, span), default=None)
        if best is not None and span_overlap(best, span) >= least_overlap:
            left[clip].remove(best)
            correct[number] = True
    hits = np.cumsum(correct)
    precision = hits / np.arange(1, len(ranked) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(highest[correct].sum() / total)


def span_average_recall(
    true: Mapping[str, Sequence[SpanTimes]], found: Mapping[str, Sequence[ScoredSpan]], proposals: int
) -> float | None:
    """Return the share of true spans that the best `proposals` spans of their clip match, averaged over `RECALL_OVERLAPS`.

    `None` without a true span; see `span_average_precision` for the arguments.
    """
    total = sum(len(spans) for spans in true.values())
    if not total:
        return None
    matched = 0.0
    for clip, spans in true.items():
        best = sorted(found.get(clip, ()), key=lambda one: -one[2])[:proposals]
        for least in RECALL_OVERLAPS:
            left = list(best)
            for span in spans:
                match = max(left, key=lambda one: span_overlap(one, span), default=None)
                if match is not None and span_overlap(match, span) >= least - 1e-9:
                    left.remove(match)
                    matched += 1
    return matched / (total * len(RECALL_OVERLAPS))
