"""Adding an expert takes a feature, a model class, a fitter and a config section, and no change elsewhere.

The toy expert scores the mean brightness of a clip, which is an added feature. It is fitted, calibrated, fused with
another expert, saved, loaded and used for inference.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from dataset import workers
from dataset.batch import Batch
from engine.checkpoint import load_checkpoint
from engine.detector import Detector
from engine.fitting import ExpertFitter, base, fit_experts
from engine.fitting.base import FITTERS
from engine.fitting.clip_features import extract_labelled
from engine.score_files import ScoringOptions, score_table
from models.experts import EXPERTS, Expert, ExpertConfig
from tests.contracts.test_toy_feature import BrightnessConfig, BrightnessFeature
from tests.in_process import in_process
from tests.support import tiny_config, write_video
from utils.cache import entry_key
from utils.features.base import FEATURES

NAME, N = "toy_mean", 20


class ToyConfig(ExpertConfig):
    scale: float = 1.0


class ToyExpert(Expert):
    inputs = ("brightness",)

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.scale = config.scale
        self.register_buffer("centre", torch.zeros((), dtype=torch.float64))

    def mask(self, batch: Batch) -> Tensor:
        return batch.inputs["brightness"].present

    def raw(self, batch: Batch) -> Tensor:
        brightness = batch.inputs["brightness"]
        means = brightness.values.double().sum(dim=1) / brightness.mask.sum(dim=1).clamp(min=1)
        return self.score(means).float()

    def score(self, means: Tensor) -> Tensor:
        return self.scale * (means - self.centre)


class ToyFitter(ExpertFitter[ToyExpert]):
    def __init__(self, means: np.ndarray, target: np.ndarray, folds: np.ndarray) -> None:
        self.means, self.target, self.folds = means, target, folds
        self.key = entry_key(means.tolist(), target.tolist(), folds.tolist())

    @classmethod
    def gather(cls, clips, config):
        found = [clip.array("brightness") for clip in extract_labelled(clips, config, ToyExpert.inputs)]
        return cls(np.array([one.astype(float).mean() for one in found]), clips.target, clips.folds)

    def fit(self, expert, *, seed, without_fold=None):
        real = (self.target == 0) & (self.folds != without_fold)
        expert.centre.fill_(float(self.means[real].mean()))

    def score(self, expert, clips):
        return expert.score(torch.from_numpy(self.means[clips])).numpy()

    def score_pseudo_fakes(self, expert, fold):
        return np.zeros(0)


@pytest.fixture
def registered(monkeypatch):
    for registry in (FEATURES, EXPERTS, FITTERS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    FEATURES.register("brightness", BrightnessConfig)(BrightnessFeature)
    EXPERTS.register(NAME, ToyConfig)(ToyExpert)
    FITTERS.register(NAME, ToyConfig)(ToyFitter)
    for module in (base, workers):  # worker processes lack the classes that a test registers
        monkeypatch.setattr(module, "run_in_workers", lambda function, tasks, **_: in_process(function, tasks))


@pytest.mark.usefixtures("registered")
def test_added_expert_is_fitted_fused_saved_loaded_and_used(tmp_path):
    for number in range(N):
        write_video(tmp_path / "trainset" / f"{number}.mp4", number, audio=False)
    labels = pd.DataFrame({"video_name": [f"{number}.mp4" for number in range(N)], "target": np.arange(N) % 2})
    labels["fold"] = np.arange(N) // 2 % 5
    labels.to_csv(tmp_path / "trainset_label.txt", index=False)
    config = tiny_config(
        tmp_path,
        output_dir=str(tmp_path / "runs"),
        fit={"cache": str(tmp_path / "cache")},
        model={"name": "av_experts", "experts": {NAME: {"scale": 3.0}, "covariance": {}}},
        extraction={"workers": 1},
    )
    folder = fit_experts(config)
    assert pd.read_csv(folder.path / "experts.csv")["experts"].tolist() == [NAME, "covariance", f"{NAME}+covariance"]
    predictions = pd.read_csv(folder.path / "predictions.csv")
    assert predictions["logit"].notna().all() and f"evidence_{NAME}" in predictions

    checkpoint = load_checkpoint(folder.best)
    weights = checkpoint.build().state_dict()
    assert {f"experts.{NAME}.centre", f"experts.{NAME}.slope"} <= set(weights) and weights[f"experts.{NAME}.centre"] > 0
    paths = [tmp_path / "trainset" / f"{number}.mp4" for number in range(2)]
    scores = score_table(Detector(checkpoint, device="cpu"), paths, ScoringOptions(workers=1, quiet=True))
    assert scores["logit"].notna().all() and f"evidence_{NAME}" in scores
