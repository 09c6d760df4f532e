"""Limitations: each one appears if and only if its condition holds."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from engine.report import ReportInputs
from engine.report.limits import limits
from tests.engine.report.samples import full_inputs, metrics, predictions


def limits_text(changes: dict | None = None, frame: pd.DataFrame | None = None, **fields: object) -> str:
    """Return the limitations of the full report after changing test metrics, predictions and other fields."""
    inputs = full_inputs()
    inputs = replace(
        inputs,
        metrics={"test": metrics(**(changes or {}))},
        predictions={"test": predictions(seed=2) if frame is None else frame},
        **fields,
    )
    return "\n".join(limits(inputs))


CASES = [
    ("better than chance", {"auc": {"value": 0.6, "low": 0.45, "high": 0.7}}),
    ("trained from random weights", {"initialisation": "random"}),
    ("fitted on this split", {"in_sample": True}),
    ("of the clips were scored", {"coverage": 0.9}),
    ("depends on its class", {"coverage_by_class": {"fake": 0.7, "real": 1.0}}),
    ("above 0.99", {"auc": {"value": 0.9997, "low": 0.999, "high": 1.0}}),
    ("There is no AUC: no real clips", {"auc": None, "reasons": {"auc": "no real clips"}}),
    ("limits are Newcombe's", {"notes": {"auc": "limits are Newcombe's"}}),
]


@pytest.mark.parametrize(("words", "changes"), CASES, ids=[case[0] for case in CASES])
def test_metric_triggers_its_limitation(words: str, changes: dict) -> None:
    assert words in limits_text(changes)
    assert words not in limits_text({"coverage": 1.0})


def test_unresolved_false_positive_rates_are_listed() -> None:
    words = limits_text(frame=predictions(n_real=150, n_fake=150, unscored=0))
    assert "150 real clips cannot resolve" in words
    assert "0.5\u00a0% or 0.1\u00a0%" in words
    assert "At least 1\u202f000 real clips" in words
    assert "cannot resolve the detection rate" not in limits_text(frame=predictions(n_real=1000, n_fake=60, unscored=0))


def test_undetected_fake_types_are_named() -> None:
    assert "face_swap (0.51)" in limits_text()
    assert "lip_sync" not in limits_text()


def test_source_limitations() -> None:
    frame = predictions()
    assert "one source (studio)" in limits_text(frame=frame.assign(source="studio"))
    assert "have no source column" in limits_text(frame=frame.drop(columns="source"))
    assert "recognises sources" in limits_text(frame=frame.assign(source=frame["target"].map({0: "a", 1: "b"})))
    assert "source" not in limits_text(frame=frame, audit=[], changes={"auc": {"value": 0.8}})


def test_shortcuts_and_missing_checks_are_reported() -> None:
    assert "\u201ccontainer facts\u201d reaches AUC 0.720" in limits_text()
    strong = [{"probe": "bit rate", "auc": 0.95, "low": 0.9, "high": 1.0}]
    assert "own AUC is no better" in limits_text(audit=strong)
    assert "audit was not run" in limits_text(audit=None)
    assert "robustness suite was not run" in limits_text(robustness=None)


def test_selection_split_and_drop_to_evaluated_split_are_reported() -> None:
    chosen = ReportInputs("run", {"val": metrics("val")}, history=[{"epoch": 1}])
    assert "chosen on this split" in "\n".join(limits(chosen))
    gap = replace(full_inputs(), metrics={"val": metrics("val", auc={"value": 0.99}), "test": metrics()})
    assert "The AUC on val (0.990) is above" in "\n".join(limits(gap))


def test_missing_class_and_missing_scores_are_reported() -> None:
    assert "Only fake clips were scored" in limits_text(frame=predictions(n_real=0))
    assert "No clip with a target was scored" in limits_text(frame=predictions(2, 2, unscored=4))
