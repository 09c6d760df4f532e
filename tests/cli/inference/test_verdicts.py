"""`inference.py`: verdicts in the output files, and the line with the thresholds."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.inference.conftest import COLUMNS, call, rows_of
from tests.support import random_checkpoint
from utils.metrics import Calibration, ErrorRates


def test_scores_between_two_thresholds_are_inconclusive(shelf, tmp_path, capsys):
    rates = ErrorRates(0.06, 0.05, 0.5, 0.4, n_real=70, n_fake=81)
    calibration = Calibration(threshold=0.99, real_threshold=0.01, rates=rates, fitted_on="out_of_fold")
    path = random_checkpoint(tmp_path / "two.pth", calibration=calibration)
    assert call("--video_dir", shelf, "--checkpoint", path) == 0
    verdicts = ["inconclusive"] * 3 + ["unscored", "inconclusive"]
    rows = rows_of()
    assert [row["verdict"] for row in rows] == verdicts and {row["threshold"] for row in rows} == {"0.99"}
    assert {row["real_threshold"] for row in rows} == {"0.01"}
    assert list(rows[0])[:7] == COLUMNS
    assert capsys.readouterr().out.splitlines()[-6:-2] == [
        "fake from 0.9900 (6 % of 70 real clips called fake),",
        "real below 0.0100 (5 % of 81 fakes called real),",
        "inconclusive between (50 % of the real clips, 40 % of the fakes);",
        "rates measured out of fold",
    ]
    assert call("--video_dir", shelf, "--checkpoint", path, "--output", "scores.json") == 0
    assert [row["verdict"] for row in json.loads(Path("scores.json").read_text())] == verdicts


def test_single_threshold_is_printed_under_the_table(shelf, checkpoint, capsys):
    assert call("--video_path", shelf / "b.mp4", "--checkpoint", checkpoint) == 0
    assert capsys.readouterr().out.splitlines()[-2] == "fake from 0.5000, real below it"
