"""Exported detectors score like their checkpoints."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dataset.samples import InputLayout, make_sample
from engine.checkpoint import load_checkpoint
from engine.detector import Detector
from engine.onnx.detector import load_onnx
from engine.onnx.export import random_sample, sample_clips
from tests.engine.onnx.conftest import CALIBRATION, EXPERTS, exported
from tests.support import WITH_VOICE, one_sentence, random_checkpoint, tiny_model, write_head
from utils.export_onnx import main
from utils.features.clip import failed


def assert_equal_scores(source, output, samples=None, tta=1):
    checkpoint = load_checkpoint(source)
    expected, found = checkpoint.scorer("cpu", tta), load_onnx(output).scorer("cpu", tta)
    samples = samples or sample_clips(InputLayout(checkpoint.features, expected.inputs))
    reference, terms = expected(samples), found(samples)
    np.testing.assert_array_equal(terms.usable, reference.usable)
    np.testing.assert_allclose(terms.logit, reference.logit, atol=1e-4)
    assert tuple(terms.evidence) == expected.terms
    for name, values in reference.evidence.items():
        np.testing.assert_allclose(terms.evidence[name], values, atol=1e-4, err_msg=name)


def test_every_expert_scores_complete_and_incomplete_clips(experts):
    assert_equal_scores(*experts)


def test_clip_without_input_does_not_run_the_graph(experts, monkeypatch):
    scorer = load_onnx(experts[1]).scorer("cpu", 1)
    layout = InputLayout(load_checkpoint(experts[0]).features, scorer.inputs)
    monkeypatch.setattr(scorer, "_session", None)
    terms = scorer([make_sample(0, 0.0, failed("missing_file"), layout)])
    assert not terms.usable.any() and np.isnan(terms.logit).all()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_padding_is_not_scored(experts, share):
    layout = InputLayout(load_checkpoint(experts[0]).features, load_onnx(experts[1]).scorer("cpu", 1).inputs)
    whole = random_sample(layout.specs, np.random.default_rng(2)).inputs
    mouth_frames = max(2, round(share * len(whole["mouth"].mask)))
    counts = {spec.name: max(1, round(share * spec.shape[0])) for spec in layout.specs if spec.padded}
    counts |= {"mouth": mouth_frames, "speech": mouth_frames + 36}
    inputs = {spec.name: spec.fill(whole[spec.name].values[: counts.get(spec.name)]) for spec in layout.specs}
    sample = random_sample(layout.specs, np.random.default_rng(2))
    assert_equal_scores(*experts, samples=[type(sample)(0, float("nan"), inputs)])


@pytest.mark.parametrize("name", ["ffdv_cov", "mel_baseline"])
def test_published_systems_score_alike_in_all_views(name, tmp_path):
    source, output = exported(tmp_path, tiny_model(name), WITH_VOICE)
    assert_equal_scores(source, output, tta=4)


def test_clip_has_the_same_score_and_verdict(experts, tmp_path):
    clip = write_head(tmp_path / "clip.mp4")
    expected, found = (Detector.load(path, "cpu").score(clip) for path in experts)
    assert found.score == pytest.approx(expected.score, abs=1e-4)
    assert found.evidence == pytest.approx(expected.evidence, abs=1e-4)
    assert (found.verdict, found.thresholds, found.reason) == (expected.verdict, expected.thresholds, expected.reason)


def test_description_has_everything_but_the_weights(experts):
    checkpoint, detector = load_checkpoint(experts[0]), load_onnx(experts[1])
    plain = json.loads(experts[1].with_suffix(".json").read_text())
    assert plain["fingerprint"] == checkpoint.features.fingerprint()
    assert plain["onnx"]["terms"] == list(EXPERTS)
    assert (detector.features, detector.calibration, detector.model) == (
        checkpoint.features, CALIBRATION, checkpoint.model,
    )  # fmt: skip


def test_command_refuses_another_suffix_and_a_missing_checkpoint(tmp_path, capsys):
    source = random_checkpoint(tmp_path / "best.pth")
    for arguments, part in (
        (["--checkpoint", str(source), "--output", "model.pt"], "must end in .onnx"),
        (["--checkpoint", str(tmp_path / "absent.pth"), "--output", "model.onnx"], "does not exist"),
    ):
        assert part in one_sentence(main, arguments, capsys)
