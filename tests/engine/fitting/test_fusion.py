"""Fusion of out-of-fold scores: calibration, abstention, and the table of combinations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from engine.fitting.base import LabelledClips
from engine.fitting.fusion import Fusion, combination_table, fuse_out_of_fold
from engine.fitting.out_of_fold import OutOfFoldScores
from tests.support import tiny_config

N, BOUND = 60, 4.0


def labelled(target):
    labels = pd.DataFrame({"video_name": [f"{i}.mp4" for i in range(N)], "target": target})
    labels["source"] = np.repeat(["a", "b", "c"], N // 3)
    folds = np.repeat([0, 1, 2], N // 3)
    return LabelledClips(SimpleNamespace(labels=labels), folds, labels["source"].to_numpy(str))


def scores(raw, pseudo_fakes, **settings):
    return OutOfFoldScores(raw, pseudo_fakes, np.resize([0, 1, 2], len(pseudo_fakes)), **settings)


@pytest.fixture
def expert_scores():
    rng = np.random.default_rng(0)
    target = np.resize([0.0, 1.0], N)
    good = scores(rng.normal(size=N) + 3 * target, rng.normal(size=30) + 3)
    blind = scores(rng.normal(size=N) - target, rng.normal(size=30) + 3)
    return labelled(target), good, blind


def test_labelled_fakes_calibrate_unless_the_expert_uses_pseudo_fakes(expert_scores):
    clips, _, blind = expert_scores
    own = scores(blind.raw, blind.pseudo_fakes, calibrates_on_pseudo_fakes=True)
    scales = Fusion.fit({"by_labels": blind, "by_own": own}, clips.target, clips.groups, BOUND).scales
    assert scales["by_labels"].slope == 0.0
    assert scales["by_own"].slope > 0


def test_pseudo_fakes_calibrate_if_no_fake_is_labelled(expert_scores):
    _, good, _ = expert_scores
    reals = labelled(np.zeros(N))
    fusion = Fusion.fit({"good": good}, reals.target, reals.groups, BOUND)
    assert fusion.scales["good"].slope > 0
    logits, folds = fusion.pseudo_fake_logits({"good": good})
    assert logits.shape == folds.shape == (30,)


def test_an_expert_with_slope_zero_does_not_change_the_fusion(expert_scores):
    clips, good, blind = expert_scores
    alone = fuse_out_of_fold(clips, {"good": good}, BOUND)
    both = fuse_out_of_fold(clips, {"good": good, "blind": blind}, BOUND)
    np.testing.assert_allclose(both["logit"], alone["logit"], atol=1e-9)
    np.testing.assert_allclose(both["evidence_good"] + both["evidence_blind"], both["logit"])


def test_clip_is_not_used_for_its_own_calibration(expert_scores):
    clips, good, _ = expert_scores
    loud = good.raw.copy()
    loud[clips.folds == 0] *= 50
    before, after = (
        fuse_out_of_fold(clips, {"good": scores(raw, good.pseudo_fakes)}, BOUND) for raw in (good.raw, loud)
    )
    quiet = (clips.folds == 0) & (good.raw == loud)
    assert not quiet.any()
    others = Fusion.fit(
        {"good": good.without(clips.folds == 0, 0)},
        clips.target[clips.folds != 0],
        clips.groups[clips.folds != 0],
        BOUND,
    )
    np.testing.assert_allclose(after["logit"][:20], others.evidence("good", loud[:20]))
    assert not np.allclose(before["logit"][20:], after["logit"][20:])


def test_clip_masked_by_all_experts_is_unscored(expert_scores):
    clips, good, blind = expert_scores
    absent = [scores(one.raw.copy(), one.pseudo_fakes) for one in (good, blind)]
    absent[0].raw[:2] = np.nan
    absent[1].raw[1:3] = np.nan
    table = fuse_out_of_fold(clips, {"good": absent[0], "blind": absent[1]}, BOUND)
    assert table["logit"].isna().tolist()[:4] == [False, True, False, False]
    assert table["status"][1] == "partial" and table["reason"][1] == "missing_modality"


def test_table_has_a_row_for_every_combination(expert_scores, tmp_path):
    clips, good, blind = expert_scores
    config = tiny_config(tmp_path).model_copy(update={"model": {"bound": BOUND}})
    table = combination_table(clips, [{"good": good, "blind": blind}], config)
    assert table["experts"].tolist() == ["good", "blind", "good+blind"]
    assert table["same_source"][0] > 0.9 > 0.5 > table["same_source"][1]
    assert (table["coverage"] == 1).all()
