"""Temporal localisation: hand-computed overlaps, average precision and recall."""

from __future__ import annotations

import pytest

from utils.metrics.spans import span_average_precision, span_average_recall, span_overlap

TRUE = {"a": [(0.0, 10.0)], "b": [(5.0, 7.0), (10.0, 12.0)], "real": []}


def test_overlap_is_intersection_over_union() -> None:
    assert span_overlap((0, 10), (5, 15)) == pytest.approx(5 / 15)
    assert span_overlap((0, 1), (2, 3)) == 0 and span_overlap((1, 1), (1, 1)) == 0


def test_perfect_spans_have_precision_and_recall_of_1() -> None:
    found = {clip: [(*span, 0.9) for span in spans] for clip, spans in TRUE.items()}
    assert span_average_precision(TRUE, found, 0.95) == 1.0
    assert span_average_recall(TRUE, found, 10) == pytest.approx(1.0)


def test_average_precision_by_hand() -> None:
    # Ranked: false (real), correct (a, overlap 0.8), correct (b, 1.0), a duplicate. Precisions at the hits: 1/2 and 2/3.
    found = {"real": [(0, 1, 0.9)], "a": [(0, 8, 0.8), (0, 8, 0.1)], "b": [(5, 7, 0.5)]}
    assert span_average_precision(TRUE, found, 0.5) == pytest.approx((2 / 3 + 2 / 3) / 3)
    # At 0.95, only the span of b is correct, in rank 3.
    assert span_average_precision(TRUE, found, 0.95) == pytest.approx((1 / 3) / 3)


def test_average_recall_by_hand() -> None:
    found = {"a": [(0, 8, 0.8)], "b": [(5, 7, 0.5), (0, 1, 0.9)]}
    # Overlap 0.8 matches at 7 of 10 overlaps, overlap 1 at all; the third true span is missed.
    assert span_average_recall(TRUE, found, 10) == pytest.approx((0.7 + 1.0 + 0.0) / 3)
    # With one proposal, b has only its wrong one.
    assert span_average_recall(TRUE, found, 1) == pytest.approx(0.7 / 3)


def test_a_set_without_true_spans_has_no_figure() -> None:
    assert span_average_precision({"a": []}, {"a": [(0, 1, 0.5)]}, 0.5) is None
    assert span_average_recall({"a": []}, {}, 5) is None
