"""Helpers and fixtures for tests of `inference.py`: a folder of clips, a checkpoint, and an empty working directory."""

from __future__ import annotations

import csv
import shutil

import pytest

import engine.load
import engine.score_files
import inference
from tests.support import random_checkpoint, write_video
from utils.command import run_command

COLUMNS = ["video", "score", "logit", "verdict", "threshold", "status", "reason"]


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """Write a folder of clips with sub-folders and other files; return it."""
    folder = tmp_path_factory.mktemp("shelf") / "clips"
    write_video(folder / "b.mp4", 0)
    write_video(folder / "deep" / "er" / "ナ 1.MP4", 1)
    write_video(folder / "a" / "no audio.mkv", 2, audio=False)
    write_video(folder / "z no video.mp4", 3, video=False)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "readme.txt").write_text("no clip")
    (folder / ".hidden").mkdir()
    shutil.copy(folder / "b.mp4", folder / ".hidden" / "c.mp4")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.pth")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Run in an empty working directory, with an empty checkpoint folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine.load, "CHECKPOINTS", tmp_path / "checkpoint")


def call(*arguments):
    options = ["--workers", "1", "--device", "cpu", "--quiet"]
    return run_command(inference.main, [*map(str, arguments), *options])


def rows_of(path="scores.csv"):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
