"""Classification of probe results."""

from __future__ import annotations

import pytest

from engine.audit.findings import (
    BETWEEN,
    FAILS,
    HOLDS,
    INSIDE,
    KNOWN,
    LEAK,
    NOTHING,
    POSSIBLE,
    SHORTCUT,
    TOO_FEW,
    UNKNOWN,
    NullDistribution,
    classify_control,
    classify_probe,
)
from engine.audit.probe_evaluation import ProbeResult
from utils.metrics import Interval

PLAIN = NullDistribution(1.0, 16)


def held(auc, low, high, random=None, within=None):
    return ProbeResult(
        Interval(auc, low, high, 40),
        None if random is None else Interval(random, random - 0.05, random + 0.05),
        {},
        Interval(None) if within is None else Interval(*within, 12),
    )


@pytest.mark.parametrize(
    ("figures", "n", "expected", "words"),
    [
        (held(0.9, 0.8, 0.97), 60, SHORTCUT, "0.90 (0.80 to 0.97) on held-out clips"),
        (held(0.62, 0.52, 0.72), 60, POSSIBLE, "chance reaches 0.62"),
        (held(0.54, 0.44, 0.64), 60, NOTHING, "AUC 0.54"),
        (held(0.54, 0.53, 0.55), 20_000, POSSIBLE, "AUC 0.54"),
        (held(1.0, 0.6, 1.0), 6, POSSIBLE, "6 real and 6 fake clips are too few"),
        (held(0.7, 0.4, 1.0), 4, TOO_FEW, "are too few"),
        (held(0.6, 0.45, 0.75), 12, NOTHING, "chance reaches 0.78"),
        (ProbeResult(Interval(None, reason="no second class")), 60, TOO_FEW, "no second class"),
    ],
)
def test_classification_without_groups(figures, n, expected, words):
    finding = classify_probe(figures, (n, n), (n, n), PLAIN)
    assert finding.label == expected and words in finding.explanation


@pytest.mark.parametrize(
    ("figures", "expected", "reach", "words"),
    [
        (held(0.9, 0.8, 0.97, 0.92, (0.85, 0.7, 0.95)), SHORTCUT, INSIDE, "0.85 (0.70 to 0.95) inside held-out groups"),
        (held(0.8, 0.7, 0.9, 0.95, (0.5, 0.4, 0.6)), SHORTCUT, BETWEEN, "no effect inside a group"),
        (held(0.8, 0.7, 0.9, 0.95, (0.7, 0.4, 0.9)), SHORTCUT, UNKNOWN, "0.95 on a random split"),
        (held(0.8, 0.7, 0.9, 0.8), SHORTCUT, UNKNOWN, "no group has both classes"),
        (held(0.52, 0.4, 0.6, 0.9, (0.5, 0.4, 0.6)), LEAK, KNOWN, "recognises the groups"),
        (held(0.5, 0.4, 0.6, 0.1, (0.5, 0.4, 0.6)), NOTHING, "", "AUC 0.50"),
    ],
)
def test_classification_with_groups_states_the_reach(figures, expected, reach, words):
    finding = classify_probe(figures, (60, 60), (20, 20), PLAIN)
    assert (finding.label, finding.reach) == (expected, reach) and words in finding.explanation


def test_wider_null_distribution_raises_the_threshold():
    figures = held(0.68, 0.49, 0.85, 0.7, (0.6, 0.4, 0.8))
    assert classify_probe(figures, (60, 60), (20, 20), PLAIN).label == POSSIBLE
    assert classify_probe(figures, (60, 60), (20, 20), NullDistribution(2.0, 16)).label == NOTHING
    assert classify_probe(figures, (60, 60), (20, 20), NullDistribution(3.0, 16)).label == TOO_FEW


def test_control_classification():
    assert classify_control(Interval(0.55, 0.45, 0.65), (60, 60), PLAIN).label == HOLDS
    assert classify_control(Interval(0.75, 0.65, 0.85), (60, 60), PLAIN).label == FAILS
    assert classify_control(Interval(None, reason="no audio"), (0, 0), PLAIN).label == TOO_FEW
