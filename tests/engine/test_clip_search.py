"""Search for clips in a folder tree."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from engine.clip_search import CLIP_SUFFIXES, check_clip, find_videos, search_folder
from utils.errors import UsageError


def make(folder: Path, *names: str) -> Path:
    """Create empty files; names may include sub-folders."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in search_folder(folder).clips]


def test_clips_of_all_sub_folders_are_sorted_by_path(tmp_path):
    make(tmp_path, "b.mp4", "a/z.MKV", "a/b/c.webm", "a b.mov")
    assert found(tmp_path) == ["a/b/c.webm", "a/z.MKV", "a b.mov", "b.mp4"]
    assert search_folder(tmp_path).summary == ""


@pytest.mark.parametrize("suffix", [".3gpp", ".mod", ".h264", ".hevc", ".m1v", ".ogm", ".lrv", ".insv", ".MP4", ".ts"])
def test_less_common_suffixes_are_clips(tmp_path, suffix):
    assert found(make(tmp_path, f"clip{suffix}")) == [f"clip{suffix}"]


def test_suffixes_are_lower_case_with_a_dot():
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in CLIP_SUFFIXES)


def test_linked_folders_are_followed_and_cycles_end(tmp_path):
    folder, elsewhere = (
        make(tmp_path / "clips", "a.mp4", "deep/b.mp4"),
        make(tmp_path / "elsewhere", "c.mp4", "d/e.mp4"),
    )
    (folder / "linked").symlink_to(elsewhere)
    (folder / "deep" / "up").symlink_to(folder)
    (elsewhere / "back").symlink_to(folder / "deep")
    (elsewhere / "self").symlink_to(elsewhere)
    (folder / "gone").symlink_to(tmp_path / "absent")
    assert found(folder) == ["a.mp4", "deep/b.mp4", "linked/c.mp4", "linked/d/e.mp4"]
    search = search_folder(folder)
    assert {path.name for path in search.repeated} == {"up", "back", "self"}
    assert "3 links to folders already searched" in search.summary


def test_linked_folder_and_link_to_a_file_are_accepted(tmp_path):
    folder = make(tmp_path / "clips", "a.mp4")
    (tmp_path / "link").symlink_to(folder)
    (folder / "other name.mkv").symlink_to(folder / "a.mp4")
    assert [path.name for path in find_videos(tmp_path / "link")] == ["a.mp4", "other name.mkv"]


def test_broken_link_with_a_clip_suffix_is_a_clip(tmp_path):
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "absent.mp4")
    assert found(tmp_path) == ["gone.mp4"]


def test_skipped_entries_are_counted_and_named(tmp_path, caplog):
    make(tmp_path, "a.mp4", "labels.csv", "x.csv", "no suffix", ".hidden.mp4", ".cache/b.mp4", ".DS_Store")
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.mp4"))
        assert [path.name for path in find_videos(tmp_path)] == ["a.mp4"]
    assert caplog.messages == [
        f"{tmp_path}: left out: 3 files with other suffixes (.csv, none), "
        f"2 named pipes, sockets or devices ({tmp_path / 'pipe.mp4'}, {tmp_path / 's.mp4'}), 2 hidden entries"
    ]


def test_unreadable_folders_are_reported(tmp_path, monkeypatch):
    make(tmp_path, "a.mp4", "private/b.mp4")
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "private":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr("engine.clip_search.os.scandir", refuse)
    search = search_folder(tmp_path)
    assert [path.name for path in search.clips] == ["a.mp4"]
    assert search.summary == f"left out: 1 unreadable folder ({tmp_path / 'private'})"


def test_folder_without_clips_is_rejected_with_the_reasons(tmp_path):
    with pytest.raises(UsageError, match=r"no clip in it \(left out: 1 file with another suffix \(.txt\)\)"):
        search_folder(make(tmp_path, "a.txt"))


def test_single_clip_may_have_any_suffix_but_must_be_a_file(tmp_path):
    make(tmp_path, "clip.xyz")
    os.mkfifo(tmp_path / "pipe")
    assert check_clip(tmp_path / "clip.xyz") == tmp_path / "clip.xyz"
    for path, words in [
        (tmp_path, "is not a file but a folder"),
        (tmp_path / "pipe", "is not a file but a named pipe"),
        (Path("/dev/null"), "is not a file but a socket or device"),
        (tmp_path / "absent", "does not exist"),
    ]:
        with pytest.raises(UsageError, match=words):
            check_clip(path)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg", ".m4a", ".opus", ".WAV"])
def test_audio_files_are_clips(tmp_path, suffix):
    assert found(make(tmp_path, f"voice{suffix}", "a.mp4")) == ["a.mp4", f"voice{suffix}"]
    assert find_videos(tmp_path, audio=False) == [tmp_path / "a.mp4", *[tmp_path / "voice.ogg"] * (suffix == ".ogg")]


def test_soundtracks_and_extracted_features_are_not_clips(tmp_path):
    make(tmp_path, "a.mp4", "a.wav", "b.wav", "deep/a.wav", "set_raw/wav_file/a.wav", "set_raw/features.json")
    assert found(tmp_path) == ["a.mp4", "b.wav", "deep/a.wav"]
    summary = search_folder(tmp_path).summary
    assert "1 audio file named like a video" in summary and "1 folder of features" in summary
    assert found(tmp_path / "set_raw" / "wav_file") == ["a.wav"]
