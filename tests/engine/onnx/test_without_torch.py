"""Scoring with an exported detector where the packages that the light installation lacks cannot be imported."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.detector import Detector
from tests.support import write_head

REPOSITORY = Path(__file__).resolve().parents[3]

BLOCKER = """
import sys
from importlib.abc import MetaPathFinder

BLOCKED = {"torch", "torchvision", "timm", "pandas", "scipy", "sklearn", "librosa", "numba", "matplotlib", "moviepy"}

class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture
def run(tmp_path):
    """Run inference.py; neither the command nor its workers can import the blocked packages."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)

    def run(*arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, str(REPOSITORY / "inference.py"), *map(str, arguments), "--quiet"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    return run


def test_every_expert_scores_without_torch(experts, run, tmp_path):
    clips = [write_head(tmp_path / "whole.mp4"), write_head(tmp_path / "mute.mp4", audio=False)]
    output = tmp_path / "scores.csv"
    done = run("--video_path", *clips, "--checkpoint", experts[1], "--output", output, "--workers", 1)
    assert done.returncode == 0, done.stderr
    with open(output, newline="") as stream:
        rows = list(csv.DictReader(stream))
    expected = list(Detector.load(experts[0], "cpu").score_many(clips))
    for row, score in zip(rows, expected, strict=True):
        assert float(row["score"]) == pytest.approx(score.score, abs=1e-4)
        for term, value in score.evidence.items():
            cell = row[f"evidence_{term}"]
            assert (float(cell) if cell else None) == (None if value is None else pytest.approx(value, abs=1e-4))


def test_checkpoints_and_reports_say_what_to_install(experts, run, tmp_path):
    clip = write_head(tmp_path / "clip.mp4")
    for arguments, part in (
        (["--checkpoint", experts[0]], "needs torch, which is not installed"),
        (["--checkpoint", experts[1], "--report", tmp_path / "report"], "make install"),
    ):
        done = run("--video_path", clip, *arguments)
        assert done.returncode == 2 and part in done.stderr and done.stderr.count("error:") == 1, done.stderr
