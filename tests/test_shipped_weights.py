"""The shipped weights: size, no clip names inside, configuration, and the metrics in the model card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.checkpoint import load_checkpoint
from engine.detector import Detector
from engine.score_files import ScoringOptions, score_table
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


def test_checkpoint_is_small_and_contains_no_names(checkpoint):
    for path in (SHIPPED, SHIPPED.with_suffix(".onnx")):
        assert path.stat().st_size < MOST_BYTES
    content = SHIPPED.read_bytes()
    assert not [mark for mark in (b".mp4", b".webm", b".wav", b"/home", b"/tmp", b"/work", b"/root") if mark in content]
    assert checkpoint.run_config["extract_path"] == "data"


def test_checkpoint_is_calibrated_and_matches_a_committed_config(checkpoint):
    assert list(checkpoint.model["experts"]) == ["synthetic_speech", "face", "motion"]
    assert 0 < checkpoint.calibration.real_threshold < checkpoint.calibration.threshold < 1
    assert checkpoint.calibration.threshold_rule == "target_fpr"
    assert checkpoint.provenance["dirty"] is False
    assert checkpoint.provenance["commit"][:7] in CARD.read_text()


def test_metrics_match_the_model_card(checkpoint):
    figures = checkpoint.metrics["out_of_fold"]
    card = CARD.read_text()
    for name in ("same_source", "auc"):
        one = figures[name]
        assert f"{one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}]" in card
    assert figures["coverage"] == 1.0


def test_each_expert_scores_the_clips_that_have_its_input(checkpoint, clips):
    scores = score_table(Detector(checkpoint, device="cpu"), clips, ScoringOptions(workers=1, quiet=True)).set_index(
        "video"
    )
    whole, mute, blank = (scores.loc[str(path)] for path in clips)
    assert np.isfinite(scores["score"].to_numpy(float)).all() and scores["score"].between(0, 1).all()
    terms = ["evidence_synthetic_speech", "evidence_face", "evidence_motion"]
    assert whole[terms].notna().all() and (whole[terms] != 0).all()
    assert mute[terms].isna().tolist() == [True, False, False]
    assert blank[terms].isna().tolist() == [False, True, True]
    np.testing.assert_allclose(whole[terms].astype(float).sum(), whole["logit"], rtol=1e-5)
