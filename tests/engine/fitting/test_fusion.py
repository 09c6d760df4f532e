"""Fusion of experts' out-of-fold opinions: what calibrates whom, absent opinions, and the table of combinations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from engine.fitting.base import LabelledClips
from engine.fitting.fusion import Fusion, combination_table, fuse_out_of_fold
from engine.fitting.judging import Judged
from tests.support import tiny_config

N, BOUND = 60, 4.0


def labelled(target):
    labels = pd.DataFrame({"video_name": [f"{i}.mp4" for i in range(N)], "target": target})
    labels["source"] = np.repeat(["a", "b", "c"], N // 3)
    folds = np.repeat([0, 1, 2], N // 3)
    return LabelledClips(SimpleNamespace(labels=labels), folds, labels["source"].to_numpy(str))


def judged(raw, stand_ins, **settings):
    return Judged(raw, stand_ins, np.resize([0, 1, 2], len(stand_ins)), **settings)


@pytest.fixture
def opinions():
    rng = np.random.default_rng(0)
    target = np.resize([0.0, 1.0], N)
    good = judged(rng.normal(size=N) + 3 * target, rng.normal(size=30) + 3)
    blind = judged(rng.normal(size=N) - target, rng.normal(size=30) + 3)
    return labelled(target), good, blind


def test_labelled_fakes_calibrate_unless_the_expert_asks_for_stand_ins(opinions):
    clips, _, blind = opinions
    own = judged(blind.raw, blind.stand_ins, calibrates_on_stand_ins=True)
    scales = Fusion.fit({"by_labels": blind, "by_own": own}, clips.target, clips.groups, BOUND).scales
    assert scales["by_labels"] == (0.0, 0.0)
    assert scales["by_own"][0] > 0


def test_stand_ins_take_over_where_no_fake_is_labelled(opinions):
    _, good, _ = opinions
    reals = labelled(np.zeros(N))
    fusion = Fusion.fit({"good": good}, reals.target, reals.groups, BOUND)
    assert fusion.scales["good"][0] > 0
    logits, folds = fusion.stand_in_logits({"good": good})
    assert logits.shape == folds.shape == (30,)


def test_a_silent_expert_neither_helps_nor_hurts(opinions):
    clips, good, blind = opinions
    alone = fuse_out_of_fold(clips, {"good": good}, BOUND)
    both = fuse_out_of_fold(clips, {"good": good, "blind": blind}, BOUND)
    np.testing.assert_allclose(both["logit"], alone["logit"], atol=1e-9)
    np.testing.assert_allclose(both["evidence_good"] + both["evidence_blind"], both["logit"])


def test_a_clip_is_not_in_its_own_calibration(opinions):
    clips, good, _ = opinions
    loud = good.raw.copy()
    loud[clips.folds == 0] *= 50
    before, after = (fuse_out_of_fold(clips, {"good": judged(raw, good.stand_ins)}, BOUND) for raw in (good.raw, loud))
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


def test_no_opinion_at_all_is_unscored(opinions):
    clips, good, blind = opinions
    absent = [judged(one.raw.copy(), one.stand_ins) for one in (good, blind)]
    absent[0].raw[:2] = np.nan
    absent[1].raw[1:3] = np.nan
    table = fuse_out_of_fold(clips, {"good": absent[0], "blind": absent[1]}, BOUND)
    assert table["logit"].isna().tolist()[:4] == [False, True, False, False]
    assert table["status"][1] == "partial" and table["reason"][1] == "missing_modality"


def test_every_combination_has_a_row(opinions, tmp_path):
    clips, good, blind = opinions
    config = tiny_config(tmp_path).model_copy(update={"model": {"bound": BOUND}})
    table = combination_table(clips, [{"good": good, "blind": blind}], config)
    assert table["experts"].tolist() == ["good", "blind", "good+blind"]
    assert table["same_source"][0] > 0.9 > 0.5 > table["same_source"][1]
    assert (table["coverage"] == 1).all()
