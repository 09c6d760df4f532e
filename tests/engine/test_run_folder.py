"""Files of a run folder: whatever a clip is called, its row is written."""

from __future__ import annotations

import os

import pandas as pd

from engine.run_folder import write_csv


def test_a_table_with_a_name_that_is_no_utf8_is_written_whole(tmp_path):
    table = pd.DataFrame({"video": [os.fsdecode(b"bad\xff.mp4"), "good.mp4"], "score": [0.5, 0.25]})
    write_csv(table, tmp_path / "scores.csv")
    assert pd.read_csv(tmp_path / "scores.csv")["video"].tolist() == ["bad\\udcff.mp4", "good.mp4"]
