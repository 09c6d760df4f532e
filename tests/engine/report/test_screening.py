"""The screening report of unlabelled clips: order, counts, cautions, hostile names."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from engine.report import ScreeningInputs, write_screening_report
from engine.report.screening import MAX_CLIPS, screening_context, short_names
from utils.metrics import Calibration, ErrorRates

FITTED = Calibration(method="platt", threshold=0.7, threshold_rule="target_fpr", target_fpr=0.05, fitted_on="x", n=9)
MEASURED = {
    "out_of_fold": {
        "n": 151,
        "auc": {"value": 0.65, "low": 0.56, "high": 0.74},
        "same_source": {"value": 0.857, "low": 0.716, "high": 0.971},
    }
}


def scored(**columns: list) -> pd.DataFrame:
    score = [0.2, 0.9, np.nan, 0.6]
    table = pd.DataFrame(
        {
            "video": [f"/clips/{name}.mp4" for name in ("low", "sub/high", "mute", "<b>&middle")],
            "score": score,
            "logit": np.log(np.array(score) / (1 - np.array(score))),
            "verdict": ["real", "fake", "unscored", "real"],
            "status": ["ok", "ok", "failed", "partial"],
            "reason": ["", "", "unreadable", "no_audio"],
            "evidence_voice": [-0.4, 2.5, np.nan, np.nan],
        }
    )
    return table.assign(**columns)


def inputs(table: pd.DataFrame, calibration: Calibration = FITTED, measured: dict | None = None) -> ScreeningInputs:
    known = MEASURED if measured is None else measured
    return ScreeningInputs(table, "evidence_", calibration, known, {"command": "python inference.py", "commit": "abc"})


def test_clips_are_sorted_by_score_and_all_are_listed() -> None:
    shown = screening_context(inputs(scored()))
    assert [clip.name for clip in shown["clips"]] == ["sub/high.mp4", "<b>&middle.mp4", "low.mp4", "mute.mp4"]
    assert [clip.note for clip in shown["clips"]] == [
        "",
        "partial, no_audio, no score from voice",
        "",
        "failed, unreadable",
    ]
    assert shown["counts"] == {"fake": 1, "inconclusive": 0, "real": 2, "unscored": 1} and shown["terms"] == ["voice"]
    assert "voice: 2.50" in shown["clips"][0].evidence[0] and "voice: none" in shown["clips"][3].evidence[0]
    lines = base64.b64decode(shown["csv"].partition("base64,")[2]).decode().splitlines()
    assert len(lines) == 5 and lines[1].startswith("/clips/sub/high.mp4,0.9,")


def test_cautions_state_measured_metrics_and_limitations() -> None:
    cautions = " ".join(screening_context(inputs(scored()))["cautions"])
    assert "AUC was 0.650 [0.560, 0.740] over all clips and 0.857 [0.716, 0.971] within sources" in cautions
    assert "1 clip could not be scored" in cautions
    cautions = " ".join(screening_context(inputs(scored(), Calibration(), {}))["cautions"])
    assert "contains no metrics" in cautions and "not calibrated" in cautions


def test_page_is_complete_and_escapes_hostile_names(tmp_path) -> None:
    page = write_screening_report(tmp_path / "deep" / "report.html", inputs(scored())).read_text()
    assert page.count("<tr>") - page.count("</tr>") == 0 and "<b>&middle" not in page and "&lt;b&gt;&amp;middle" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page), "the page must not make network requests"
    for words in ("Called <b>fake</b>", "of 4 clips", "5\u00a0% of real clips", "python inference.py"):
        assert words in page


def test_two_thresholds_are_shown_with_their_rates_and_inconclusive_clips(tmp_path) -> None:
    rates = ErrorRates(0.06, 0.05, 0.5, 0.4, n_real=70, n_fake=81)
    two = replace(FITTED, real_threshold=0.3, rates=rates, fitted_on="out_of_fold")
    table = scored(verdict=["real", "fake", "unscored", "inconclusive"])
    shown = screening_context(inputs(table, two))
    assert shown["counts"] == {"fake": 1, "inconclusive": 1, "real": 1, "unscored": 1}
    assert [clip.verdict for clip in shown["clips"]] == ["fake", "inconclusive", "real", "unscored"]
    assert ["bar inconclusive" in clip.bar for clip in shown["clips"]] == [False, True, False, False]
    figures = {figure.label: figure for figure in shown["figures"]}
    assert (figures["Inconclusive"].value, figures["Real threshold on the score"].value) == ("1", "0.300")
    assert "at most 5\u00a0% of fakes real; 5\u00a0% out of fold" in figures["Real threshold on the score"].note
    assert "6\u00a0% out of fold" in figures["Fake threshold on the score"].note
    cautions = " ".join(shown["cautions"])
    assert (
        "6\u00a0% of 70 real clips called fake, 5\u00a0% of 81 fakes called real, inconclusive 50\u00a0% of" in cautions
    )
    assert shown["chart"].caption == "1 clip called fake, 1 clip called real, 1 inconclusive."
    assert "real below 0.300, fake from 0.700" in shown["chart"].svg
    page = write_screening_report(tmp_path / "report.html", inputs(table, two)).read_text()
    assert '<span class="verdict inconclusive">inconclusive</span>' in page


def test_one_threshold_shows_no_inconclusive_figure() -> None:
    labels = [figure.label for figure in screening_context(inputs(scored()))["figures"]]
    assert "Threshold on the score" in labels and not {"Inconclusive", "Real threshold on the score"} & set(labels)


@pytest.mark.parametrize("score", [[np.nan] * 4, [0.2, 0.9, 0.1, 0.6]])
def test_page_renders_with_all_or_no_clips_scored(score: list[float], tmp_path) -> None:
    table = scored(score=score, logit=score, verdict=["unscored"] * 4).drop(columns="evidence_voice")
    page = write_screening_report(tmp_path / "report.html", inputs(table)).read_text()
    assert ("No clip was scored" in page) == bool(np.isnan(score).all())


def test_long_list_is_truncated_on_the_page_but_not_in_the_download() -> None:
    table = pd.concat([scored()] * 200, ignore_index=True)
    shown = screening_context(inputs(table))
    assert len(shown["clips"]) == MAX_CLIPS
    assert len(base64.b64decode(shown["csv"].partition("base64,")[2]).decode().splitlines()) == 801


def test_common_folder_is_removed_from_names() -> None:
    assert short_names(["/a/b/c.mp4", "/a/b/d/e.mp4"]) == ["c.mp4", "d/e.mp4"]
    assert short_names(["c.mp4", "/a/d.mp4"]) == ["c.mp4", "/a/d.mp4"]
    assert short_names(["x/c.mp4"]) == ["c.mp4"]
