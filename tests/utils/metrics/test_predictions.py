"""Reading, joining and pairing of predictions files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from utils.errors import UsageError
from utils.metrics.predictions import join_labels, lend_labels, pair, read_predictions, read_table
from utils.metrics.summary import summarise


def table(**columns: list) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_reading_converts_scores_and_keeps_other_columns_as_text(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text('\ufeffvideo, y_pred ,type\n"a, b.mp4",0.5, 007 \n\nc.mp4,,\n', encoding="utf-8")
    read = read_predictions(path)
    assert read["video_name"].tolist() == ["a, b.mp4", "c.mp4"]
    assert read["type"].tolist() == ["007", ""]
    assert read["score"][0] == 0.5
    assert np.isnan(read["score"][1])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent.csv cannot be read"):
        read_table(tmp_path / "absent.csv")


def test_label_file_overrides_labels_and_predictions_override_scores() -> None:
    predictions = table(
        video_name=["b", "a"], score=[0.2, 0.9], type=["old", "old"], seconds=["1", "2"], reason=["", "x"]
    )
    labels = table(video_name=["a", "b", "c"], target=["1", "0", "1"], type=["new", "", "new"], score=["9", "9", "9"])
    joined = join_labels(predictions, labels)
    assert joined["video_name"].tolist() == ["a", "b", "c"]
    assert joined["type"].tolist() == ["new", "", "new"]
    assert joined["score"].tolist()[:2] == [0.9, 0.2]
    assert np.isnan(joined["score"][2])
    assert joined["reason"].tolist() == ["x", "", "not_in_predictions"]
    assert joined["status"].tolist() == ["", "", "missing"]
    assert joined["seconds"].tolist()[:2] == ["2", "1"]
    assert set(joined) == {"video_name", "target", "type", "score", "seconds", "reason", "status"}


def test_a_label_file_without_targets_keeps_those_of_the_predictions() -> None:
    joined = join_labels(table(video_name=["a"], target=["1"], score=[0.1]), table(video_name=["a"], source=["s"]))
    assert joined["target"].tolist() == ["1"]
    assert joined["source"].tolist() == ["s"]


def test_a_placeholder_does_not_contradict_a_target() -> None:
    joined = join_labels(table(video_name=["a"], target=["-1"], score=[0.1]), table(video_name=["a"], target=["1"]))
    assert joined["target"].tolist() == ["1"]


def test_labels_are_copied_only_to_tables_without_targets() -> None:
    lender = table(video_name=["a", "b"], target=["1", "0"], type=["x", ""], score=[0.1, 0.2])
    borrower = table(video_name=["b", "z"], score=[0.5, 0.6])
    lent = lend_labels(borrower, lender)
    assert lent["target"].fillna("").tolist() == ["0", ""]
    assert lent["score"].tolist() == [0.5, 0.6]
    assert summarise(lent, split="x")["n_unlabelled"] == 1
    assert lend_labels(lender, lent) is lender
    assert lend_labels(borrower, borrower) is borrower


def test_a_table_with_targets_borrows_the_grouping_columns_that_it_lacks() -> None:
    lender = table(video_name=["a", "b"], target=["1", "0"], type=["x", ""], source=["s", "t"], score=[0.1, 0.2])
    borrower = table(video_name=["b", "a", "z"], target=["0", "1", "1"], source=["own", "own", "own"], score=[1, 2, 3])
    lent = lend_labels(borrower, lender)
    assert lent["type"].tolist() == ["", "x", ""] and lent["source"].tolist() == ["own"] * 3
    assert lent["score"].tolist() == [1, 2, 3] and lent["target"].tolist() == ["0", "1", "1"]


def test_pair_returns_row_numbers_of_shared_clips() -> None:
    first = table(video_name=["a", "b", "c"], target=["1", "0", "1"])
    second = table(video_name=["c", "a", "d"], target=["1", "1", "0"])
    shared = pair(first, second)
    assert shared[["video_name", "a", "b"]].to_numpy().tolist() == [["a", 0, 1], ["c", 2, 0]]
    with pytest.raises(UsageError, match=r"disagree on the target of a \(1 in all\)"):
        pair(first, second.assign(target=["1", "0", "0"]))
