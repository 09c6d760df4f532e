"""Fitting of the covariance expert on labelled clips."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from dataset.clips import ClipTable
from engine.fitting import LabelledClips
from engine.fitting import covariance as covariance_module
from engine.fitting.covariance import CovarianceFitter
from models.experts.covariance import PROFILE_SIZE, CovarianceConfig, CovarianceExpert
from tests.support import tiny_config
from utils.errors import WorkError

N = 60


@pytest.fixture
def fitter() -> CovarianceFitter:
    rng = np.random.default_rng(0)
    is_fake = np.arange(N) % 2 == 1
    features = rng.standard_normal((N, PROFILE_SIZE)) + 0.5 * is_fake[:, None]
    features[10] = np.nan
    return CovarianceFitter(features, is_fake, np.arange(N) // 2 % 3)


class Clip:
    """Cached features with a constant covariance."""

    def __init__(self, level: float) -> None:
        self.level = level

    def covariance(self) -> np.ndarray:
        return np.full((8, 8), self.level, np.float32)


def gathered(target: np.ndarray, folds: np.ndarray, monkeypatch, tmp_path) -> CovarianceFitter | None:
    features = [None if clip == 3 else Clip(clip / N) for clip in range(len(target))]
    monkeypatch.setattr(covariance_module, "extract_labelled", lambda *_: features)
    names = [f"{clip}.mp4" for clip in range(len(target))]
    table = ClipTable(None, pd.DataFrame({"video_name": names, "target": target}), None)  # type: ignore[arg-type]
    clips = LabelledClips(table, folds, np.array(names))
    return CovarianceFitter.gather(clips, tiny_config(tmp_path, fit={"cache": str(tmp_path)}))


def test_held_out_clips_are_separated_and_clips_without_features_have_nan(fitter: CovarianceFitter) -> None:
    raw = np.full(N, np.nan)
    for fold in range(3):
        expert = CovarianceExpert(CovarianceConfig())
        fitter.fit(expert, seed=0, without_fold=fold)
        held = np.flatnonzero(fitter.folds == fold)
        raw[held] = fitter.score(expert, held)
    assert np.flatnonzero(np.isnan(raw)).tolist() == [10]
    assert np.nanmean(raw[fitter.is_fake]) > np.nanmean(raw[~fitter.is_fake]) + 1
    assert len(fitter.score_pseudo_fakes(expert, 0)) == 0


def test_fit_does_not_use_the_held_out_fold(fitter: CovarianceFitter) -> None:
    changed = fitter.features.copy()
    changed[fitter.folds == 1] += 100
    other = CovarianceFitter(changed, fitter.is_fake, fitter.folds)
    before, after = CovarianceExpert(CovarianceConfig()), CovarianceExpert(CovarianceConfig())
    fitter.fit(before, seed=0, without_fold=1)
    other.fit(after, seed=3, without_fold=1)
    for name, buffer in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], buffer), name
    assert other.key != fitter.key


def test_out_of_fold_scores_equal_scores_of_the_expert(fitter: CovarianceFitter) -> None:
    expert = CovarianceExpert(CovarianceConfig())
    fitter.fit(expert, seed=0)
    scored = expert.discriminant(torch.from_numpy(fitter.features[:4])).float()
    assert fitter.score(expert, np.arange(4)).tolist() == scored.double().tolist()


def test_expert_is_left_out_without_labelled_fakes(monkeypatch, tmp_path, caplog) -> None:
    assert gathered(np.zeros(N), np.arange(N) % 3, monkeypatch, tmp_path) is None
    assert [record.getMessage() for record in caplog.records] == [
        "the covariance expert is left out: 0 labelled fakes; it needs 8"
    ]


def test_fakes_in_a_single_fold_are_not_enough(monkeypatch, tmp_path, caplog) -> None:
    target = (np.arange(N) < 20).astype(float)
    assert gathered(target, (np.arange(N) // 20) % 3, monkeypatch, tmp_path) is None
    assert "0 clips of one class outside a fold" in caplog.text
    found = gathered(np.arange(N) % 2.0, np.arange(N) // 2 % 3, monkeypatch, tmp_path)
    assert found is not None and np.isnan(found.features[3]).all() and found.counts().sum() == N - 1


def test_one_class_is_rejected(fitter: CovarianceFitter) -> None:
    reals_only = CovarianceFitter(fitter.features, np.zeros(N, bool), fitter.folds)
    with pytest.raises(WorkError, match="one class"):
        reals_only.fit(CovarianceExpert(CovarianceConfig()), seed=0)
