"""Adding a feature takes one class and one registration. The toy feature here goes from video to a model's logit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from dataset.batch import Batch, collate
from dataset.clips import ClipDataset, open_clips
from dataset.config import DataConfig, ExtractionConfig, LabelNames, VideoDirs
from dataset.extraction import extract_split
from dataset.samples import InputLayout
from dataset.splits import open_split
from engine.config import check_run_config
from engine.detector import Detector
from models import MODELS, build_model
from models.base import DetectorConfig, DetectorModel, DetectorOutput
from tests.fake_encoder import in_this_process
from tests.support import FEATURES, random_checkpoint, tiny_settings, write_video
from utils.config import Section, describe_problems
from utils.features.base import FEATURES as REGISTERED
from utils.features.base import FRAMES, ArraySpec, ClipPass, Extractor, Feature
from utils.features.clip import ClipFacts
from utils.features.config import FeatureConfig

NAMES = ["a.mp4", "b.mp4", "audio only.mp4"]


class BrightnessConfig(Section):
    """Settings of the toy feature."""

    levels: int = Field(4, ge=1, le=64, description="number of frames")


class BrightnessFeature(Feature):
    """Mean brightness of the first frames of a clip: (T,) float32 with T <= `levels`."""

    name, key, fed, inputs = "brightness", "brightness", (FRAMES,), ("brightness",)
    folder, suffix = "brightness", ".npy"

    @property
    def levels(self) -> int:
        return (self.config.setting(self.key) or BrightnessConfig()).levels

    def arrays(self) -> tuple[ArraySpec, ...]:
        return (ArraySpec("brightness", (self.levels,), np.float32, padded=True),)

    def to_arrays(self, value: Any, facts: ClipFacts) -> Mapping[str, np.ndarray | None]:
        return {"brightness": value}

    def extractor(self, clip: ClipPass) -> Extractor:
        return BrightnessExtractor(self.levels)

    def write(self, path: Path, value: Any) -> None:
        np.save(path, value)

    def read(self, path: Path, facts: ClipFacts) -> Any:
        return np.load(path)


class BrightnessExtractor(Extractor):
    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.means: list[float] = []

    def add_frame(self, frame: np.ndarray) -> None:
        if len(self.means) < self.levels:
            self.means.append(float(frame.mean()))

    def finish(self) -> Any:
        return np.array(self.means, np.float32) if self.means else None


class ToyModelConfig(DetectorConfig):
    name: Literal["toy"] = "toy"

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("brightness",)


class ToyModel(DetectorModel):
    terms = ("brightness",)

    def __init__(self, config: ToyModelConfig, features: FeatureConfig) -> None:
        super().__init__()
        self.inputs = config.inputs
        self.weight = nn.Parameter(torch.ones(()))

    def usable(self, batch: Batch) -> Tensor:
        return batch.inputs["brightness"].present

    def forward(self, batch: Batch) -> DetectorOutput:
        brightness = batch.inputs["brightness"]
        mean = brightness.values.sum(dim=1) / brightness.mask.sum(dim=1).clamp(min=1)
        return DetectorOutput({"brightness": self.weight * (mean / 255)})


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Worker processes lack features and models that a test registers.
    monkeypatch.setattr("dataset.extraction.run_in_workers", in_this_process)
    REGISTERED.register("brightness", BrightnessConfig)(BrightnessFeature)
    MODELS.register("toy", ToyModelConfig)(ToyModel)
    yield
    REGISTERED.unregister("brightness")
    MODELS.unregister("toy")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(NAMES):
        write_video(tmp_path / "trainset" / name, 3 * seed, frames=3 + 10 * seed, video=name != NAMES[2])
    rows = [f"{name},{row % 2}" for row, name in enumerate(NAMES)]
    (tmp_path / "trainset_label.txt").write_text("\n".join(["video_name,target", *rows]) + "\n", encoding="utf-8")
    return tmp_path


def batch_from(root: Path, features: FeatureConfig, source: Literal["features", "video"]) -> Batch:
    split = open_split("trainset", root, LabelNames(), VideoDirs(), features)
    clips = open_clips(split, DataConfig(source=source), ExtractionConfig(), need_targets=True)
    dataset = ClipDataset(clips, InputLayout(features, ("brightness",)))
    return collate([dataset[row][0] for row in range(len(NAMES))])


def test_cached_and_on_the_fly_batches_are_equal(root: Path) -> None:
    features = FeatureConfig.model_validate({**FEATURES, "brightness": {"levels": 5}})
    split = open_split("trainset", root, LabelNames(), VideoDirs(), features)
    extract_split(split, ExtractionConfig(workers=1), quiet=True)
    assert (root / "trainset_raw" / "brightness" / "a.mp4.npy").is_file()
    stored, direct = (batch_from(root, features, source) for source in ("features", "video"))
    assert stored.inputs.keys() == {"brightness"}
    assert torch.equal(stored.inputs["brightness"].values, direct.inputs["brightness"].values)
    assert torch.equal(stored.inputs["brightness"].mask, direct.inputs["brightness"].mask)
    assert stored.inputs["brightness"].mask.sum(dim=1).tolist() == [3, 5, 0]
    model = build_model({"name": "toy"}, features)
    logit = model(stored).logit
    assert model.usable(stored).tolist() == [True, True, False]
    assert 0 < logit[0] != logit[1] and logit[2] == 0


def test_settings_are_checked_and_change_the_fingerprint() -> None:
    plain = FeatureConfig.model_validate(FEATURES)
    some, more = (FeatureConfig.model_validate({**FEATURES, "brightness": {"levels": levels}}) for levels in (5, 6))
    assert len({plain.fingerprint(), some.fingerprint(), more.fingerprint()}) == 3
    assert FeatureConfig.model_validate(some.model_dump()) == some
    with pytest.raises(ValidationError, match="levels"):
        FeatureConfig.model_validate({"brightness": {"levels": 0}})
    with pytest.raises(ValidationError) as raised:
        FeatureConfig.model_validate({"brightnes": {}})
    assert "did you mean 'brightness'" in describe_problems(raised.value, FeatureConfig)[0]


def test_run_enables_the_feature_if_its_model_needs_it(root: Path) -> None:
    config = check_run_config(tiny_settings(root, model={"name": "toy"}), where="test", check_model=True)
    assert config.features.setting("brightness") == BrightnessConfig()


def test_checkpoint_of_the_toy_model_scores_a_clip(root: Path) -> None:
    features = FeatureConfig.model_validate({**FEATURES, "brightness": {}})
    checkpoint = random_checkpoint(root / "toy.pth", {"name": "toy"}, features=features)
    score = Detector.load(checkpoint, device="cpu").score(root / "trainset" / "a.mp4")
    assert score.status == "ok" and 0 < score.logit < 1
