"""Unit tests of text formatting, downloads, scales, charts and tables."""

from __future__ import annotations

import base64
import csv
import io
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from engine.report.inputs import ReportedMetric, number, read_metric, reason_for, scored_rows
from engine.report.ranking_charts import det_chart, low_fpr_chart, roc_chart, roc_of
from engine.report.score_charts import reliability_bins, score_chart, verdict_counts
from engine.report.svg import Scale, nice_ticks, staircase
from engine.report.tables import coverage_rows, evidence_columns, robustness_grid, wrong_clips
from engine.report.text import count, csv_uri, fixed, isolate, percent, safe_cell, visible
from tests.engine.report.samples import metrics, predictions
from utils.metrics.calibration import Calibration


def table(uri: str) -> list[list[str]]:
    """Return the rows of a CSV download."""
    return list(csv.reader(io.StringIO(base64.b64decode(uri.partition("base64,")[2]).decode())))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "", "text", True, pd.NA, 10**400])
def test_number_of_non_numeric_value_is_none(value: object) -> None:
    assert number(value) is None
    assert fixed(value) == percent(value) == count(value) == "n/a"


def test_number_formatting() -> None:
    assert fixed(-0.0004, 2) == "0.00"
    assert fixed(-1.5, 2) == "\u22121.50"
    assert percent(0.31) == "31\u00a0%"
    assert percent(0.99999) == "99.9\u00a0%"
    assert percent(1) == "100\u00a0%"
    assert count(12345) == "12\u202f345"


def test_reason_is_taken_from_the_nearest_parent_path() -> None:
    record = {"reasons": {"per_type.swap": "no real clips", "auc": "one class"}}
    assert reason_for(record, "per_type.swap.auc") == "no real clips"
    assert read_metric(record, "auc").reason == "one class"
    assert "not recorded" in read_metric(record, "ap").reason


def test_visible_returns_one_line_without_control_characters() -> None:
    assert visible("a\u202eb\nc\udcff") == "a\ufffdb\ufffdc\ufffd"
    assert len(visible("x" * 999, 20)) == 20
    assert isolate("a_<b>") == "<bdi>a_&lt;b&gt;</bdi>"
    assert "<wbr>" in isolate("one_two/three")


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"])
def test_spreadsheet_formulas_are_quoted(text: str) -> None:
    assert safe_cell(text) == "'" + text


def test_numeric_cells_are_unchanged() -> None:
    assert safe_cell(-0.5) == -0.5
    assert safe_cell("-0.5") == "-0.5"
    assert safe_cell(np.float64("nan")) == ""
    assert table(csv_uri(("a", "=b"), [(1, 'x,"y"')])) == [["a", "'=b"], ["1", 'x,"y"']]


def test_scales_clip_and_transform_values() -> None:
    log = Scale(0.001, 1, 0, 300, "log")
    assert log(0.01) == pytest.approx(100)
    assert log(0) == 0
    probit = Scale(0.01, 0.99, 0, 100, "probit")
    assert probit(0.5) == pytest.approx(50)
    assert Scale(2, 2, 0, 10)(2) == 5


def test_ticks_are_round_and_within_the_range() -> None:
    assert nice_ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(3, 3) == [3]
    ticks = nice_ticks(-0.13, 0.27, 6)
    assert min(ticks) >= -0.13 and max(ticks) <= 0.27 and 0 in ticks


def test_staircase_steps_along_x_then_up() -> None:
    assert staircase(np.array([0.0, 1.0]), np.array([0.2, 0.9])) == [(0.0, 0.2), (1.0, 0.2), (1.0, 0.9)]


def test_area_under_roc_curve_equals_auc() -> None:
    frame = predictions()
    scored = scored_rows(frame)
    curve = roc_of(scored)
    assert curve is not None
    known = frame.dropna(subset=["logit"])
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(roc_auc_score(known["target"], known["logit"]))
    rows = table(roc_chart(scored, "test", None).csv)
    assert rows[0] == ["fpr", "tpr", "logit_at_least"]
    assert [float(rows[-1][0]), float(rows[-1][1])] == [1.0, 1.0]


def test_unresolved_region_depends_on_number_of_reals() -> None:
    few, many = (scored_rows(predictions(n_real=n, n_fake=50, unscored=0)) for n in (20, 4000))
    assert "1/20 = 5\u00a0%" in low_fpr_chart(few, "test", None).caption
    assert dict(roc_chart(few, "test", None).rows)["1 %"].startswith("not resolved by 20 real clips")
    assert dict(roc_chart(many, "test", None).rows)["0.1 %"].endswith("%")


def test_charts_of_one_class_give_the_reason() -> None:
    scored = scored_rows(predictions(n_real=0))
    charts = [
        roc_chart(scored, "t", None),
        low_fpr_chart(scored, "t", None),
        det_chart(scored, "t", None, ReportedMetric(None)),
    ]
    assert all("Only fake clips" in chart.missing and not chart.svg for chart in charts)


def test_score_histogram_counts_every_scored_clip() -> None:
    scored = scored_rows(predictions())
    chart = score_chart(scored, 0.5, "test")
    rows = table(chart.csv)[1:]
    assert sum(int(row[2]) for row in rows) == scored.n_fake
    assert sum(int(row[3]) for row in rows) == scored.n_real
    missed = int((scored.score[scored.target == 1] < 0.5).sum())
    assert f"{missed} missed fake" in chart.caption


def test_reliability_bins_come_from_metrics_or_predictions() -> None:
    row = {"low": 0.0, "high": 0.5, "n": 7, "mean_score": 0.2, "fake_share": 0.3}
    given = reliability_bins({"reliability": [row, row | {"n": 0, "mean_score": None}]}, scored_rows(None))
    assert [(entry.n, entry.fake_share) for entry in given] == [(7, 0.3)]
    scored = scored_rows(predictions())
    made = reliability_bins(metrics(), scored)
    assert sum(entry.n for entry in made) == scored.n_fake + scored.n_real


def test_coverage_counts_every_row() -> None:
    rows = coverage_rows(predictions(5, 5, unscored=3))
    assert [(row.status, row.reason, row.n, row.scored) for row in rows] == [
        ("ok", "", 7, 7),
        ("failed", "truncated", 3, 0),
    ]


def test_evidence_columns_are_numeric_non_label_columns() -> None:
    frame = predictions().assign(generator=1, start_s=0.5, note="x", empty=np.nan)
    assert evidence_columns(frame) == ["cosine", "mel_head"]
    assert evidence_columns(frame, ("mel_head", "absent")) == ["mel_head"]


def test_worst_errors_come_first_and_all_are_counted() -> None:
    frame = predictions(40, 40, unscored=0)
    missed, alarms = wrong_clips(frame, 0.5, ["cosine"])
    scored = frame[frame["target"] == 1]
    assert missed.total == int((scored["score"] < 0.5).sum())
    assert missed.clips[0].name == scored.loc[scored["logit"].idxmin(), "video_name"]
    assert [clip.logit for clip in alarms.clips] == sorted((clip.logit for clip in alarms.clips), reverse=True)
    assert all(clip.score >= 0.5 and clip.evidence[0][0] == "Audio-video cosine" for clip in alarms.clips)


def test_inconclusive_fakes_are_not_errors() -> None:
    frame = predictions(40, 40, unscored=0)
    missed, alarms = wrong_clips(frame, 0.6, [], 0.3)
    target, score = frame["target"], frame["score"]
    assert missed.total == int((score[target == 1] < 0.3).sum()) and alarms.total == int(
        (score[target == 0] >= 0.6).sum()
    )
    between = int(((score >= 0.3) & (score < 0.6)).sum())
    chart = score_chart(scored_rows(frame), 0.6, "test", 0.3)
    assert f"{between} inconclusive clips" in chart.caption and "real below 0.300, fake from 0.600" in chart.svg


def test_robustness_grid_orders_severities_and_averages_the_drop() -> None:
    frame = pd.DataFrame(
        {
            "family": ["blur", "blur", "mp3"],
            "severity": [10, 2, 2],
            "auc": [0.6, 0.7, math.nan],
            "coverage": [1, 1, 0.5],
        }
    )
    grid = robustness_grid(frame, 0.8)
    assert list(grid.severities) == ["2", "10"]
    assert [family for family, _, _ in grid.rows] == ["blur", "mp3"]
    assert grid.mean_drop == pytest.approx(0.15)
    assert grid.rows[1][1][1] is None
    assert robustness_grid(frame, None).mean_drop is None


def test_scores_in_one_bin_are_counted_by_their_own_verdict() -> None:
    calibration = Calibration(threshold=0.8, real_threshold=0.29)
    counts = verdict_counts(np.array([0.281, 0.312, 0.318, 0.9]), calibration, np.linspace(0, 1, 26))
    assert {verdict: np.flatnonzero(bins).tolist() for verdict, bins in counts.items()} == {
        "real": [7],
        "inconclusive": [7],
        "fake": [22],
    }
    assert counts["inconclusive"][7] == 2
