"""The shipped ONNX export belongs to the shipped checkpoint and gives the same scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.checkpoint import load_checkpoint
from engine.detector import Detector
from engine.onnx.detector import load_onnx
from tests.support import write_head
from utils.files import file_sha256

SHIPPED = Path(__file__).resolve().parents[1] / "checkpoint" / "default.pth"
EXPORTED = SHIPPED.with_suffix(".onnx")
MOST_BYTES = 20_000_000

pytestmark = pytest.mark.skipif(not EXPORTED.is_file(), reason="checkpoint/default.onnx is not in this copy")


def test_export_belongs_to_the_checkpoint():
    detector, checkpoint = load_onnx(EXPORTED), load_checkpoint(SHIPPED)
    assert detector.checkpoint_sha256 == file_sha256(SHIPPED)
    assert detector.features.fingerprint() == checkpoint.features.fingerprint()
    assert (detector.calibration, detector.model) == (checkpoint.calibration, checkpoint.model)
    assert detector.provenance == checkpoint.provenance


def test_export_is_small_and_contains_no_paths():
    assert EXPORTED.stat().st_size < MOST_BYTES
    content = EXPORTED.read_bytes() + EXPORTED.with_suffix(".json").read_bytes()
    assert not [mark for mark in (b".mp4", b".webm", b".wav", b"/home", b"/tmp", b"/work", b"/root") if mark in content]
    assert json.loads(EXPORTED.with_suffix(".json").read_text())["run_config"]["extract_path"] == "data"


def test_export_gives_the_same_scores(tmp_path):
    clips = [write_head(tmp_path / "whole.mp4"), write_head(tmp_path / "mute.mp4", audio=False)]
    expected, found = (list(Detector.load(path, "cpu").score_many(clips)) for path in (SHIPPED, EXPORTED))
    for one, other in zip(expected, found, strict=True):
        assert other.score == pytest.approx(one.score, abs=1e-4)
        assert other.evidence == pytest.approx(one.evidence, abs=1e-4)
        assert (other.verdict, other.reason) == (one.verdict, one.reason)
