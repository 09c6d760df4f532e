"""Hints for label names that match a clip only in another spelling."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import pytest

from dataset import label_hints
from dataset.label_hints import log_name_hints, missing_names, name_hints

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "clip é.mp4") for form in ("NFC", "NFD"))


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "b.MP4", "sub/c.mkv", COMPOSED, "sub/" + DECOMPOSED):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "difference", "suggestion"),
    [
        ("a", "have no suffix", "a.mp4"),
        ("sub/c", "have no suffix", "sub/c.mkv"),
        ("sub\\c.mkv", "use backslashes", "sub/c.mkv"),
        (DECOMPOSED, "differ only in Unicode normalisation", COMPOSED),
        ("sub/" + COMPOSED, "differ only in Unicode normalisation", "sub/" + DECOMPOSED),
        ("b.mp4", "differ only in upper and lower case", "b.MP4"),
    ],
)
def test_hint_names_the_difference_and_the_clip(clips: Path, name: str, difference: str, suggestion: str) -> None:
    (hint,) = name_hints(["a.mp4", name], clips)
    assert hint == f"1 of 2 names match no clip because they {difference}: {name!r}, did you mean {suggestion!r}?"


def test_each_kind_of_difference_is_one_line(clips: Path) -> None:
    hints = name_hints(["a", "sub/c", "sub\\c.mkv", "a.mp4"], clips)
    assert len(hints) == 2 and hints[0].startswith("2 of 4 names match no clip because they have no suffix: 'a'")


@pytest.mark.parametrize("names", [["a.mp4", "sub/c.mkv"], ["unlike.mp4", "sub/unlike", "no\\such"], []])
def test_no_hint_without_a_similar_clip(clips: Path, names: list[str]) -> None:
    assert name_hints(names, clips) == []


def test_missing_folder_gives_no_hint(tmp_path: Path) -> None:
    assert name_hints(["a"], tmp_path / "none") == []


def test_many_missing_names_are_examined_quickly(clips: Path) -> None:
    (hint,) = name_hints(["a", *(f"missing {index}" for index in range(5000))], clips)
    assert hint.startswith("at least 1 of 5001")


def test_hints_are_warnings_that_name_the_label_file(clips: Path, caplog: pytest.LogCaptureFixture) -> None:
    log_name_hints(["a"], clips, clips / "labels.txt")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and record.getMessage().startswith(f"{clips / 'labels.txt'}: 1 of 1 names")


def test_listing_the_folder_finds_the_same_names_as_looking_each_up(clips: Path, monkeypatch) -> None:
    (clips / ".writing-d.mp4").touch()
    (clips / "lost.mp4").symlink_to(clips / "nowhere.mp4")
    names = ["a.mp4", "./a.mp4", "sub/c.mkv", ".writing-d.mp4", "lost.mp4", "sub", "b.mp4", "sub/c", "none.mp4"]
    looked_up = missing_names(names, clips)
    monkeypatch.setattr(label_hints, "LISTED_FROM", 1)
    assert missing_names(names, clips) == looked_up == ["b.mp4", "sub/c", "none.mp4"]
