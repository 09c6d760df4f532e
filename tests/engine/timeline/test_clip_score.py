"""The score of a clip from its windows and faces."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from engine.timeline.clip_score import WORST_WINDOWS, combine_rows, worst_windows
from engine.torch_scorer import clip_table
from utils.metrics.calibration import Calibration


def rows_of(voice: list[float], face: list[float], windows: list[int] | None = None) -> list[dict]:
    """Return a row per window; a term of NaN abstains."""
    return [
        {
            "index": 3,
            "window": windows[number] if windows else number,
            "logit": np.nan if np.isnan([one, other]).all() else np.nansum([one, other]),
            "status": "ok",
            "reason": "",
            "evidence_voice": one,
            "evidence_face": other,
        }
        for number, (one, other) in enumerate(zip(voice, face, strict=True))
    ]


def test_one_window_is_returned_unchanged() -> None:
    (row,) = rows_of([1.5], [np.nan])
    assert combine_rows([row])["logit"] == 1.5 and np.isnan(combine_rows([row])["evidence_face"])


def test_a_fake_part_of_a_long_clip_determines_its_score() -> None:
    voice = [0.0] * 40
    voice[12 : 12 + WORST_WINDOWS] = [4.0] * WORST_WINDOWS
    combined = combine_rows(rows_of(voice, [0.1] * 40))
    assert combined["logit"] == pytest.approx(4.1)
    assert combined["evidence_voice"] + combined["evidence_face"] == pytest.approx(combined["logit"])


def test_single_outliers_do_not_determine_the_score() -> None:
    voice = [0.0] * 40
    voice[5] = voice[25] = 5.0
    assert combine_rows(rows_of(voice, [0.0] * 40))["logit"] == pytest.approx(5.0 / WORST_WINDOWS)


def test_a_window_takes_its_most_suspicious_face() -> None:
    combined = combine_rows(rows_of([0.5, 0.5, 0.5], [0.2, 2.2, np.nan], windows=[0, 0, 0]))
    assert combined["logit"] == pytest.approx(2.7) and combined["evidence_face"] == 2.2


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (("no_face", "no_face"), ("partial", "no_face")),
        (("no_face", ""), ("ok", "")),
        (("no_face+truncated", "truncated"), ("partial", "truncated")),
    ],
)
def test_a_clip_has_the_reasons_of_all_its_windows(reasons: tuple[str, str], expected: tuple[str, str]) -> None:
    rows = rows_of([1.0, 0.5], [np.nan, 0.1])
    for row, reason in zip(rows, reasons, strict=True):
        row |= {"reason": reason, "status": "partial" if reason else "ok"}
    combined = combine_rows(rows)
    assert (combined["status"], combined["reason"]) == expected


def test_windows_without_a_score_are_skipped() -> None:
    nothing = [np.nan, np.nan]
    assert combine_rows(rows_of([*nothing, 1.0], [*nothing, np.nan]))["logit"] == 1.0
    assert np.isnan(combine_rows(rows_of(nothing, nothing))["logit"])
    assert worst_windows(np.array([np.nan, np.nan])) == slice(0, 0)


def test_a_term_that_abstains_everywhere_abstains_for_the_clip() -> None:
    combined = combine_rows(rows_of([1.0, 3.0], [np.nan, np.nan]))
    assert combined["logit"] == 2.0 and np.isnan(combined["evidence_face"])


def test_a_table_of_windows_becomes_a_table_of_clips() -> None:
    table = pd.DataFrame([*rows_of([1.0, 3.0], [0.0, 0.0]), rows_of([5.0], [0.0])[0] | {"index": 4}])
    table.insert(1, "score", 0.0)
    clips = clip_table(table, Calibration())
    assert clips["index"].tolist() == [3, 4] and clips["logit"].tolist() == [2.0, 5.0] and "window" not in clips
    np.testing.assert_allclose(clips["score"], 1 / (1 + np.exp(-clips["logit"])))
