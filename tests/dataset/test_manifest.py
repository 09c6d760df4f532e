"""`extraction.csv` and its journal: columns, merging, and lines truncated by a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset.manifest import (
    COLUMNS,
    PENDING,
    Row,
    Shard,
    append_to_journal,
    read_manifest,
    read_rows,
    write_manifest,
)
from utils.errors import UsageError
from utils.features.clip import ClipFacts

ROW = Row(ClipFacts("partial", "no_audio+truncated", 3.0, 90, 29.97, False), 0.125)
ODD_NAMES = ["a.mp4", "a, b.mp4", 'say "hi".mp4', "ü 映.mp4", "sub/a.mp4", "nan", "video_name"]


def test_header_and_cells_have_the_documented_format(tmp_path: Path) -> None:
    path = tmp_path / "extraction.csv"
    write_manifest(path, ["a.mp4", "b.mp4"], {"a.mp4": ROW})
    assert path.read_text() == (
        "video_name,status,reason,duration_s,n_frames,fps,has_audio,seconds\n"
        "a.mp4,partial,no_audio+truncated,3.000,90,29.970,0,0.125\n"
        "b.mp4,pending,,0.000,0,0.000,0,0.000\n"
    )


def test_rows_with_any_name_can_be_read(tmp_path: Path) -> None:
    write_manifest(tmp_path / "extraction.csv", ODD_NAMES, dict.fromkeys(ODD_NAMES, ROW))
    for name in ODD_NAMES:
        append_to_journal(tmp_path / "extraction.journal", name, ROW)
    expected = dict.fromkeys(ODD_NAMES, ROW)
    assert read_manifest(tmp_path / "extraction.csv") == expected
    assert read_manifest(tmp_path / "extraction.journal") == expected


def test_complete_lines_of_a_truncated_journal_are_read(tmp_path: Path) -> None:
    path = tmp_path / "extraction.journal"
    for name in ("a.mp4", "b.mp4"):
        append_to_journal(path, name, ROW)
    content = path.read_bytes()
    line = len(content) // 2
    for end in range(line, len(content) - len("0.125\n")):
        path.write_bytes(content[:end])
        assert read_manifest(path) == {"a.mp4": ROW}, content[:end]


def test_finished_rows_replace_pending_ones_and_the_journal_takes_precedence(tmp_path: Path) -> None:
    newer = Row(ClipFacts("ok", "", 1.0, 25, 25.0, True), 0.2)
    write_manifest(tmp_path / "extraction.csv", ["a", "b", "c"], {"a": ROW})
    write_manifest(tmp_path / "extraction.1-of-2.csv", ["a", "c"], {"c": newer})
    append_to_journal(tmp_path / "extraction.2-of-2.journal", "a", newer)
    assert read_rows(tmp_path) == {"a": newer, "b": PENDING, "c": newer}
    assert read_rows(tmp_path / "nowhere") == {}


def test_hand_edited_rows_do_not_shift_columns(tmp_path: Path) -> None:
    path = tmp_path / "extraction.csv"
    path.write_text(
        ",".join([*COLUMNS, "note"])
        + "\na,ok,,1.0,25,25.0,1,0.1,mine\nb,ok,,1.0,25,25.0,1,0.1\nc,ok,,x,25,25.0,1,0.1\n"
    )
    assert list(read_manifest(path)) == ["b"]
    path.write_bytes(b"\xff\xfe\x00garbage\n")
    assert read_manifest(path) == {}
    path.write_text('a,"' + "x" * 200_000 + "\n")
    with pytest.raises(UsageError, match="is damaged"):
        read_manifest(path)


@pytest.mark.parametrize(
    "ending", ["", "b.mp4,ok,,1.0,25,25.0,1,\n", "b.mp4,ok,,1.0,25,25.0\n", "b.mp4,ok,,1.0,2x,1.0,1,0.1\n", "\n"]
)
def test_a_manifest_is_read_alike_in_one_step_and_by_line(tmp_path: Path, ending: str) -> None:
    """The quoted name in the journal makes the reader take the file line by line."""
    path, journal = tmp_path / "extraction.csv", tmp_path / "extraction.journal"
    rows = {f"{index}.mp4": Row(ClipFacts("ok", "", 1.1, index, 29.97, index % 2 == 1), 0.1) for index in range(3)}
    write_manifest(path, rows, rows)
    path.write_text(path.read_text() + ending)
    append_to_journal(journal, '"', ROW)
    journal.write_text(journal.read_text() + path.read_text())
    assert read_manifest(path) == rows
    assert read_manifest(journal) == {'"': ROW, **rows}


def test_rows_can_be_selected_and_counted(tmp_path: Path) -> None:
    rows = {"a": ROW, "b": PENDING, "c": ROW}
    write_manifest(tmp_path / "extraction.csv", rows, rows)
    read = read_rows(tmp_path)
    assert read.of(["c", "x", "a"]) == {"c": ROW, "a": ROW}
    assert read.of(["c", "x", "a"]).names == ["c", "a"]
    assert read.where(np.array([False, True, True])) == {"b": PENDING, "c": ROW}
    assert read.count("status") == {"partial": 2, "pending": 1}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_are_disjoint_and_complete(count: int) -> None:
    names = [f"{index}.mp4" for index in range(20)]
    parts = [Shard(index, count).select(names) for index in range(1, count + 1)]
    assert sorted(sum(parts, [])) == sorted(names)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert Shard(1, 1).manifest_name == "extraction.csv" and Shard(2, 3).manifest_name == "extraction.2-of-3.csv"
