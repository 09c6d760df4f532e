"""The weights that come with the project: small, whole, anonymous, and scoring as their model card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.checkpoint import load_checkpoint
from engine.predict import PredictOptions, score_videos
from tests.support import write_head

SHIPPED = Path(__file__).resolve().parents[1] / "checkpoint" / "default.pth"
CARD = SHIPPED.parents[1] / "docs" / "MODEL_CARD.md"
MOST_BYTES = 25_000_000


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(SHIPPED)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    return [
        write_head(folder / "whole.mp4"),
        write_head(folder / "mute.mp4", audio=False),
        write_head(folder / "blank.mp4", pictures=[np.full((96, 128, 3), 90, np.uint8)] * 40),
    ]


def test_they_are_small_and_name_nobody(checkpoint):
    assert SHIPPED.stat().st_size < MOST_BYTES
    content = SHIPPED.read_bytes()
    assert not [mark for mark in (b".mp4", b".webm", b".wav", b"/home", b"/tmp", b"/work", b"/root") if mark in content]
    assert checkpoint.run_config["extract_path"] == "data"


def test_they_are_calibrated_experts_of_a_committed_config(checkpoint):
    assert list(checkpoint.model["experts"]) == ["voice", "face"]
    assert checkpoint.calibration.threshold_rule == "target_fpr"
    assert checkpoint.provenance["dirty"] is False
    assert checkpoint.provenance["commit"][:7] in CARD.read_text()


def test_their_figures_are_those_of_the_card(checkpoint):
    figures = checkpoint.metrics["out_of_fold"]
    card = CARD.read_text()
    for name in ("same_source", "auc"):
        one = figures[name]
        assert f"{one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}]" in card
    assert figures["coverage"] == 1.0


def test_every_clip_gets_the_opinion_of_who_can_see_or_hear_it(checkpoint, clips):
    scores = score_videos(clips, checkpoint, PredictOptions(workers=1, device="cpu", quiet=True)).set_index("video")
    whole, mute, blank = (scores.loc[str(path)] for path in clips)
    assert np.isfinite(scores["score"].to_numpy(float)).all() and scores["score"].between(0, 1).all()
    assert whole["evidence_voice"] != 0 and whole["evidence_face"] != 0
    assert np.isnan(mute["evidence_voice"]) and mute["evidence_face"] != 0
    assert blank["evidence_voice"] != 0 and np.isnan(blank["evidence_face"])
    np.testing.assert_allclose(whole["evidence_voice"] + whole["evidence_face"], whole["logit"], rtol=1e-5)
