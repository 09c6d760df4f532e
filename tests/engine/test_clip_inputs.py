"""Clips given on the command line: names, patterns, lists, standard input and a watched folder."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.clip_inputs import STALLED_S, ClipArguments, FolderWatch, names_in
from tests.support import write_video
from utils.errors import UsageError, WorkError


@pytest.fixture(autouse=True)
def clips(tmp_path, monkeypatch):
    """Create empty clips in an otherwise empty working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.mp4", "a.mp4", "deep/c.mkv", "d[1].mp4", "note.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()


def names(**arguments) -> list[str]:
    return [str(clip) for clips in ClipArguments(**arguments).rounds() for clip in clips]


def test_several_files_keep_their_order():
    assert names(video_path=["b.mp4", "note.txt", "a.mp4"]) == ["b.mp4", "note.txt", "a.mp4"]


def test_patterns_are_expanded_and_sorted():
    assert names(video_path=["[ab].mp4"]) == ["a.mp4", "b.mp4"]
    assert names(video_path=["**/*.m*"]) == ["a.mp4", "b.mp4", "d[1].mp4", "deep/c.mkv"]
    assert names(video_path=["*"]) == ["a.mp4", "b.mp4", "d[1].mp4", "note.txt"]  # without the folder


def test_existing_file_with_brackets_is_not_a_pattern():
    assert names(video_path=["d[1].mp4"]) == ["d[1].mp4"]


def test_folder_list_and_standard_input(monkeypatch):
    assert names(video_dir="deep") == ["deep/c.mkv"]
    listed = b"\xef\xbb\xbfb.mp4\r\n\n  \ngone.mp4\nhttps://host/x.mp4\nnot utf-8 \xff.mp4\n deep/c.mkv"
    expected = ["b.mp4", "gone.mp4", "https://host/x.mp4", "not utf-8 \udcff.mp4", " deep/c.mkv"]
    Path("list.txt").write_bytes(listed)
    assert names(video_list="list.txt") == expected
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(listed)))
    assert names(video_path=["-"]) == expected


def test_names_of_a_pipe_are_read_lazily():
    reading, writing = os.pipe()
    stream = names_in(os.fdopen(reading, "rb"))
    os.write(writing, b"a.mp4\nb.m")
    assert next(stream) == Path("a.mp4")
    os.write(writing, b"p4\n")
    os.close(writing)
    assert list(stream) == [Path("b.mp4")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"video_path": ["a.mp4", "gone.mp4"]}, "--video_path does not exist: gone.mp4"),
        ({"video_path": ["memory://a//x.mp4"]}, "--video_path does not exist: memory://a//x.mp4"),
        ({"video_path": ["x*.mp4"]}, "no file matches"),
        ({"video_path": ["-", "a.mp4"]}, "cannot be combined"),
        ({"video_path": ["deep"]}, "is not a file but a folder"),
        ({"video_list": "gone.txt"}, "--video_list does not exist: gone.txt"),
        ({"video_list": "deep"}, "--video_list is a folder"),
        ({"video_list": "note.txt"}, "no name in it"),
        ({"watch": "gone"}, "--watch does not exist: gone"),
        ({"watch": "a.mp4"}, "--watch is a file"),
    ],
)
def test_wrong_inputs_are_rejected(arguments, message):
    with pytest.raises(UsageError, match=message):
        names(**arguments)


def test_watched_clip_is_yielded_when_its_size_stays_the_same():
    watch = FolderWatch(Path("deep"))
    clip = Path("deep/c.mkv")
    assert watch.poll() == watch.poll() == []  # an empty file is not complete
    clip.write_bytes(b"12")
    assert watch.poll() == []
    clip.write_bytes(b"1234")
    assert watch.poll() == []
    assert watch.poll() == [clip]
    assert watch.poll() == []


def test_watched_clip_that_changes_is_yielded_again():
    watch = FolderWatch(Path("deep"))
    clip, new = Path("deep/c.mkv"), Path("deep/new/e.mp4")
    clip.write_bytes(b"12")
    watch.poll()
    assert watch.poll() == [clip]
    clip.write_bytes(b"123")
    new.parent.mkdir()
    new.write_bytes(b"1")
    (Path("deep") / "other.part").write_bytes(b"1")
    assert watch.poll() == []
    assert watch.poll() == [clip, new]


def test_watched_clip_that_is_cut_short_is_awaited(monkeypatch):
    clock = SimpleNamespace(time_s=0.0)
    monkeypatch.setattr("time.monotonic", lambda: clock.time_s)
    watch = FolderWatch(Path("deep"))
    whole, copied = write_video(Path("whole.mp4"), 0).read_bytes(), Path("deep/e.mp4")
    copied.write_bytes(whole[: len(whole) // 2])
    for clock.time_s in (0.0, 2.0, STALLED_S - 2):
        assert watch.poll() == []
    copied.write_bytes(whole)
    assert watch.poll() == []
    assert watch.poll() == [copied]
    broken = Path("deep/f.mp4")
    broken.write_bytes(whole[:-1])
    for clock.time_s in (100.0, 100.0 + STALLED_S - 1):
        assert watch.poll() == []
    clock.time_s = 100.0 + STALLED_S
    assert watch.poll() == [broken]
    assert watch.poll() == []


def test_removed_watched_folder_ends_the_watch():
    watch = FolderWatch(Path("deep"))
    Path("deep/c.mkv").unlink()
    Path("deep").rmdir()
    with pytest.raises(WorkError, match="no longer exists: deep"):
        next(iter(watch))
