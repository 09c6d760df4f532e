"""Suspicious spans: parts that are scored as fake, and parts that stand out from the rest of the clip."""

from __future__ import annotations

import numpy as np
import pytest

from engine.timeline.contrast import best_runs, contrast_spans
from engine.timeline.spans import suspicious_spans
from engine.timeline.types import Timeline
from utils.metrics.calibration import Calibration

CALIBRATION = Calibration(threshold=0.6)


def line(scores: list[float], **evidence: list[float]) -> Timeline:
    """Return a time line with one window of 3 s per second."""
    start_s = np.arange(len(scores), dtype=float)
    return Timeline(start_s, start_s + 3, np.array(scores, float), {name: np.array(e) for name, e in evidence.items()})


def test_a_part_that_is_scored_as_fake_becomes_a_span() -> None:
    scores = [0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1]
    (span,) = suspicious_spans(line(scores, voice=[0.2] * 10, face=[0.0] * 10), CALIBRATION, 12.0)
    assert (span.start_s, span.end_s) == (4.0, 8.0) and (span.expert, span.basis) == ("voice", "score")
    assert span.score == pytest.approx(0.9)


def test_spans_reach_the_ends_of_the_clip_and_ignore_single_windows() -> None:
    (span,) = suspicious_spans(line([0.9, 0.9, 0.9]), CALIBRATION, 4.7)
    assert (span.start_s, span.end_s) == (0.0, 4.7)
    assert suspicious_spans(line([0.1, 0.1, 0.9, 0.1, 0.1]), CALIBRATION, 7.0) == ()
    assert suspicious_spans(line([np.nan, np.nan]), CALIBRATION, 4.0) == ()


def test_a_part_below_the_threshold_stands_out_from_a_clip_with_lower_evidence() -> None:
    voice = [-2.0, -2.1, -1.9, -2.0, -0.5, -0.4, -0.5, -2.0, -1.9, -2.0]
    (span,) = suspicious_spans(line([0.2] * 10, voice=voice, face=[0.1] * 10), CALIBRATION, 12.0)
    assert (span.start_s, span.end_s) == (5.0, 8.0) and (span.expert, span.basis) == ("voice", "contrast")
    assert span.score == pytest.approx(float(CALIBRATION.score(1.6)), abs=0.01)


def test_the_evidence_of_experts_adds_up_and_motion_is_left_out() -> None:
    rise = [0.0, 0.0, 0.0, 0.0, 0.7, 0.7, 0.7, 0.0, 0.0, 0.0]
    (span,) = contrast_spans(line([0.2] * 10, voice=rise, face=rise), CALIBRATION, 12.0)
    assert (span.start_s, span.end_s) == (5.0, 8.0)
    assert contrast_spans(line([0.2] * 10, voice=rise), CALIBRATION, 12.0) == ()
    assert contrast_spans(line([0.2] * 10, motion=[10 * value for value in rise]), CALIBRATION, 12.0) == ()


def test_nothing_stands_out_from_an_even_clip_or_from_few_windows() -> None:
    assert contrast_spans(line([0.9] * 10, voice=[4.0] * 10), CALIBRATION, 12.0) == ()
    assert contrast_spans(line([0.1, 0.1, 0.9], voice=[0.0, 0.0, 9.0]), CALIBRATION, 5.0) == ()
    assert contrast_spans(line([np.nan] * 10, voice=[np.nan] * 10), CALIBRATION, 12.0) == ()
    mostly = [0.0, 0.0] + [5.0] * 8
    assert contrast_spans(line([0.1] * 10, voice=mostly), CALIBRATION, 12.0) == ()


def test_a_part_with_contrast_replaces_one_by_score_unless_most_of_the_clip_is_fake() -> None:
    voice = [0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0]
    scores = [0.1, 0.1, 0.1, 0.1, 0.7, 0.9, 0.9, 0.9, 0.7, 0.1, 0.1, 0.1]
    (span,) = suspicious_spans(line(scores, voice=voice), CALIBRATION, 14.0)
    assert (span.start_s, span.end_s, span.basis) == (6.0, 9.0, "contrast")
    (span,) = suspicious_spans(line([0.9] * 12, voice=voice), CALIBRATION, 14.0)
    assert (span.start_s, span.end_s, span.basis) == (0.0, 14.0, "score")


def test_best_runs_are_disjoint_and_ordered_by_sum() -> None:
    values = np.array([-1.0, 2.0, -0.5, 2.0, -4.0, 3.0, -1.0])
    assert best_runs(values, 1.0) == [(1, 4), (5, 6)]
    assert best_runs(values, 3.2) == [(1, 4)]
    assert best_runs(np.array([-1.0]), 0.5) == best_runs(np.zeros(0), 0.5) == []
