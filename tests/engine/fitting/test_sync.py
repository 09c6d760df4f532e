"""Fitting of the sync expert: real clips only, held-out folds, and speech of other clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dataset.clips import ClipTable
from engine.fitting import LabelledClips
from engine.fitting import sync as sync_module
from engine.fitting.clip_features import CachedClip
from engine.fitting.sync import SyncFitter, shifted
from models.experts.sync import SyncConfig, SyncExpert
from tests.support import talking, tiny_config
from utils.errors import WorkError

SMALL = SyncConfig(mouth_dims=4, speech_dims=6, components=2)
N = 18


def store(path: Path, **arrays: np.ndarray) -> CachedClip:
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    return CachedClip(path)


def store_pair(path: Path, mouth: np.ndarray, speech: np.ndarray) -> CachedClip:
    return store(path, mouth=mouth, speech=speech)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> list[CachedClip | None]:
    """Return 15 talking clips, one with another clip's speech, one without a face, and one unreadable."""
    folder = tmp_path_factory.mktemp("cache")
    clips: list[CachedClip | None] = [store_pair(folder / f"{seed}.npz", *talking(seed)) for seed in range(N - 3)]
    clips.append(store_pair(folder / "other.npz", talking(90)[0], talking(91)[1]))
    clips.append(store(folder / "none.npz"))
    return [*clips, None]


@pytest.fixture(scope="module")
def fitter(features: list[CachedClip | None]) -> SyncFitter:
    is_real = np.arange(N) != N - 3
    return SyncFitter(features, is_real, np.arange(N) % 3, np.array([f"g{clip // 6}" for clip in range(N)]))


def labelled(fitter: SyncFitter, target: np.ndarray) -> LabelledClips:
    names = [f"{clip}.mp4" for clip in range(N)]
    table = ClipTable(None, pd.DataFrame({"video_name": names, "target": target}), None)  # type: ignore[arg-type]
    return LabelledClips(table, fitter.folds, fitter.groups)


def test_clip_with_another_clips_speech_has_the_highest_score(fitter: SyncFitter) -> None:
    expert = SyncExpert(SMALL)
    fitter.fit(expert, seed=0, without_fold=0)
    fold = np.flatnonzero(fitter.folds == 0)
    raw = fitter.score(expert, fold)
    assert np.isfinite(raw).sum() == len(fold) and raw[fold == N - 3] > raw[fold < N - 3].max() + 0.2
    assert np.isnan(fitter.score(expert, np.array([N - 2, N - 1]))).all()


def test_pseudo_fakes_score_above_the_real_clips(fitter: SyncFitter) -> None:
    expert = SyncExpert(SMALL)
    fitter.fit(expert, seed=0, without_fold=1)
    forged = fitter.score_pseudo_fakes(expert, 1)
    real = fitter.score(expert, np.arange(1, N - 3, 3))
    assert len(forged) == 10 and forged.min() > real.max()


def test_fit_uses_neither_the_held_out_fold_nor_fakes(fitter: SyncFitter, tmp_path: Path) -> None:
    before, after = SyncExpert(SMALL), SyncExpert(SMALL)
    fitter.fit(before, seed=0, without_fold=0)
    changed = list(fitter.features)
    for clip in np.flatnonzero((fitter.folds == 0) | ~fitter.is_real):
        changed[clip] = store_pair(tmp_path / f"{clip}.npz", *talking(500 + clip))
    other = SyncFitter(changed, fitter.is_real, fitter.folds, fitter.groups)
    other.fit(after, seed=7, without_fold=0)
    for name, buffer in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], buffer), name
    assert other.key != fitter.key


def test_donors_are_from_the_same_group_if_possible(fitter: SyncFitter) -> None:
    assert fitter.donor(0, [0, 3, 6]) == 3 and fitter.donor(3, [0, 3, 6]) == 0
    assert fitter.donor(6, [0, 3, 6]) == 0 and fitter.donor(6, [6]) is None


def test_shift_moves_speech_earlier() -> None:
    speech = np.arange(30, dtype=np.float32)[:, None].repeat(40, axis=1)
    assert shifted(speech, 8)[:, 0].tolist() == [*range(8, 30), *[29] * 8]


@pytest.mark.parametrize(("real", "stays"), [(15, True), (7, False)])
def test_expert_is_left_out_with_too_few_real_clips(
    fitter: SyncFitter, monkeypatch, caplog, tmp_path, real, stays
) -> None:
    monkeypatch.setattr(sync_module, "extract_labelled", lambda *_: fitter.features)
    clips = labelled(fitter, (np.arange(N) >= real).astype(float))
    found = SyncFitter.gather(clips, tiny_config(tmp_path, fit={"cache": str(tmp_path)}))
    assert (found is not None) == stays
    assert ("is left out" in caplog.text) != stays


def test_too_few_training_clips_are_an_error(fitter: SyncFitter) -> None:
    one_fold = SyncFitter(fitter.features, fitter.is_real, np.zeros(N, int), fitter.groups)
    with pytest.raises(WorkError, match="fewer than two"):
        one_fold.fit(SyncExpert(SMALL), seed=0, without_fold=0)
