"""With an empty `data/`, each command prints one sentence that explains how to get data."""

from __future__ import annotations

import importlib.util
import sys

import pytest

import engine.load
import inference
import main
from tests.support import REPOSITORY, one_sentence, random_checkpoint, write_video


@pytest.fixture(autouse=True)
def empty_project(tmp_path, monkeypatch):
    """Run in a directory like a fresh clone, with empty `data/` and `checkpoint/`; return it."""
    for name in ("data", "checkpoint"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".gitkeep").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine.load, "CHECKPOINTS", tmp_path / "checkpoint")
    return tmp_path


def extract_command():
    spec = importlib.util.spec_from_file_location("extract_ffdv_script", REPOSITORY / "utils" / "extract_ffdv.py")
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module.main


def test_extraction_points_to_the_demo(capsys):
    assert "make demo" in one_sentence(extract_command(), [], capsys)


def test_training_points_to_the_demo_and_writes_nothing(capsys, empty_project):
    assert "make demo" in one_sentence(main.main, [], capsys)
    assert [path.name for path in (empty_project / "checkpoint").iterdir()] == [".gitkeep"]


def test_evaluation_points_to_the_demo(capsys, tmp_path):
    checkpoint = random_checkpoint(tmp_path / "best.pth")
    for evaluate in ("val", "test"):
        line = one_sentence(main.main, ["--checkpoint", str(checkpoint), "--set", f"evaluate={evaluate}"], capsys)
        assert "make demo" in line and f"{evaluate}set" in line


def test_inference_points_to_the_demo(capsys, tmp_path):
    assert "make demo" in one_sentence(inference.main, ["--video_dir", "data"], capsys)
    clip = write_video(tmp_path / "clip.mp4", 0)
    assert "make demo" in one_sentence(inference.main, ["--video_path", str(clip)], capsys)
