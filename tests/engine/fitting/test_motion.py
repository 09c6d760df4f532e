"""Fitting of the motion expert on real clips only."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from dataset.clips import ClipTable
from engine.fitting import LabelledClips
from engine.fitting import motion as motion_module
from engine.fitting.motion import LEAST_CLIPS, LEAST_SPREAD, MotionFitter
from models.experts.motion import LEAST_STEPS, MotionConfig, MotionExpert
from tests.support import random_batch, tiny_config
from utils.errors import WorkError
from utils.features.face.motion import MOTION_CHANNELS

N = 40
IS_REAL = np.arange(N) % 2 == 0
FOLDS = np.arange(N) // 2 % 4


@pytest.fixture
def fitter() -> MotionFitter:
    statistics = np.random.default_rng(0).normal([0.2, -0.1], [0.1, 0.3], (N, 2)) + 0.3 * ~IS_REAL[:, None]
    statistics[6] = np.nan
    return MotionFitter(statistics, IS_REAL, FOLDS)


class Clip:
    """Cached features with a motion of some length."""

    def __init__(self, steps: int, seed: int = 0) -> None:
        self.motion = np.random.default_rng(seed).standard_normal((steps, MOTION_CHANNELS)).astype(np.float32)

    def array(self, name: str) -> np.ndarray | None:
        return self.motion if name == "motion" and len(self.motion) else None


def gathered(clips: list[Clip | None], target: np.ndarray, monkeypatch, tmp_path) -> MotionFitter | None:
    monkeypatch.setattr(motion_module, "extract_labelled", lambda *_: clips)
    names = [f"{number}.mp4" for number in range(len(clips))]
    table = ClipTable(None, pd.DataFrame({"video_name": names, "target": target}), None)  # type: ignore[arg-type]
    labelled = LabelledClips(table, np.arange(len(clips)) % 3, np.array(names))
    return MotionFitter.gather(labelled, tiny_config(tmp_path, fit={"cache": str(tmp_path)}))


def fit(fitter: MotionFitter, fold: int | None = None, seed: int = 0) -> MotionExpert:
    expert = MotionExpert(MotionConfig())
    fitter.fit(expert, seed=seed, without_fold=fold)
    return expert


def test_real_clips_have_a_median_of_zero_and_unit_spread(fitter: MotionFitter) -> None:
    expert = fit(fitter)
    reals = (fitter.reals() - expert.centre.numpy()) / expert.spread.numpy()
    np.testing.assert_allclose(np.median(reals, axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(reals.std(axis=0), 1, atol=0.6)
    fakes = fitter.score(expert, np.flatnonzero(~IS_REAL))
    assert fakes.mean() > 1


def test_fit_uses_neither_fakes_nor_the_held_out_fold(fitter: MotionFitter) -> None:
    changed = fitter.statistics.copy()
    changed[~IS_REAL] = 9
    changed[FOLDS == 1] -= 5
    before, after = fit(fitter, 1), fit(MotionFitter(changed, IS_REAL, FOLDS), 1, seed=7)
    for name, buffer in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], buffer), name
    everything = fit(fitter)
    assert not torch.equal(everything.centre, before.centre)
    assert MotionFitter(changed, IS_REAL, FOLDS).key != fitter.key


def test_clips_without_motion_have_nan_and_no_pseudo_fakes_are_scored(fitter: MotionFitter) -> None:
    raw = fitter.score(fit(fitter), np.arange(N))
    assert np.flatnonzero(np.isnan(raw)).tolist() == [6]
    assert len(fitter.score_pseudo_fakes(fit(fitter), 0)) == 0


def test_fitter_scores_equal_scores_of_the_expert(monkeypatch, tmp_path) -> None:
    batch = random_batch([True] * 8, [True] * 8)
    motion = batch.inputs["motion"]
    clips = [Clip(0) for _ in range(8)]
    for row, clip in enumerate(clips):
        clip.motion = motion.values[row][motion.mask[row]].numpy()
    fitter = gathered([*clips, Clip(LEAST_STEPS - 1), Clip(0), None], np.zeros(11), monkeypatch, tmp_path)
    assert fitter is None, "eight real clips in three folds leave fewer than six outside a fold"
    more = [Clip(LEAST_STEPS, seed) for seed in range(6)]
    fitter = gathered([*clips, *more, Clip(LEAST_STEPS - 1), Clip(0), None], np.zeros(17), monkeypatch, tmp_path)
    assert fitter is not None
    expert = fit(fitter)
    scores = fitter.score(expert, np.arange(17))
    np.testing.assert_allclose(scores[:8], expert.raw(batch).double(), atol=1e-6)
    assert np.isfinite(scores[:14]).all() and np.isnan(scores[14:]).all()


def test_expert_is_left_out_with_too_few_real_clips(monkeypatch, tmp_path, caplog) -> None:
    clips: list[Clip | None] = [Clip(60, seed) for seed in range(12)]
    assert gathered(clips, (np.arange(12) > 6).astype(float), monkeypatch, tmp_path) is None
    assert [record.getMessage() for record in caplog.records] == [
        f"the motion expert is left out: 7 real clips with a moving face, 4 outside the largest fold; it needs {LEAST_CLIPS}"
    ]
    assert gathered(clips, (np.arange(12) > 8).astype(float), monkeypatch, tmp_path) is not None


def test_equal_clips_have_a_positive_spread() -> None:
    expert = fit(MotionFitter(np.full((8, 2), 0.4), np.ones(8, bool), np.zeros(8, int)))
    np.testing.assert_allclose(expert.spread, LEAST_SPREAD)


def test_too_few_training_clips_are_an_error(fitter: MotionFitter) -> None:
    one_fold = MotionFitter(fitter.statistics, IS_REAL, np.zeros(N, int))
    with pytest.raises(WorkError, match=f"fewer than {LEAST_CLIPS} real clips"):
        fit(one_fold, 0)
