"""An extracted data root with complete and damaged clips, and a checkpoint to score them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from dataset.config import ExtractionConfig
from dataset.extraction import extract_split
from engine.run import run_evaluation, split_of
from tests.support import FEATURE_CONFIG, random_checkpoint, tiny_config, write_video
from utils.metrics import Calibration

SPLIT = "valset"


@dataclass(frozen=True)
class ClipRoot:
    """A data root with clips and features, and a checkpoint.

    Attributes:
        root: the data root; its clips are in `videos`.
        names: the clips in the order of the label file; the incomplete ones come last.
        checkpoint: an untrained, calibrated model.
    """

    root: Path
    names: list[str]
    checkpoint: Path

    @property
    def videos(self) -> Path:
        """Folder of the clips."""
        return self.root / SPLIT

    def evaluate(self, **sections) -> pd.DataFrame:
        """Return the predictions of `main.py --checkpoint`, indexed by clip name."""
        config = tiny_config(self.root, **sections)
        folder = run_evaluation(config, str(self.checkpoint))
        table = pd.read_csv(folder.path / "predictions.csv", dtype={"reason": str}, keep_default_na=False)
        assert table["video_name"].tolist() == self.names
        numbers = {
            name: pd.to_numeric(table[name]) for name in table if name in ("score", "logit") or "evidence" in name
        }
        return table.assign(**numbers).set_index("video_name")


@pytest.fixture(scope="session")
def clip_root(tmp_path_factory) -> ClipRoot:
    """Write four complete clips, three incomplete ones and a text file. The label file also names a missing clip."""
    root = tmp_path_factory.mktemp("clips") / "data"
    videos = root / SPLIT
    names = ["b.mp4", "a.mp4", "sub folder/ça và.mp4", "d.mkv"]
    for seed, name in enumerate(names):
        write_video(videos / name, seed)
    write_video(videos / "mute.mp4", 5, audio=False)
    write_video(videos / "audio only.mp4", 6, video=False)
    write_video(videos / "still.mp4", 7, frames=1)
    (videos / "text.mp4").write_text("not a clip")
    names += ["mute.mp4", "audio only.mp4", "still.mp4", "text.mp4", "absent.mp4"]
    rows = [f"{name},{row % 2}" for row, name in enumerate(names)]
    (root / "valset_label.txt").write_text("\n".join(["video_name,target", *rows]) + "\n", encoding="utf-8")
    extract_split(split_of(tiny_config(root), SPLIT, FEATURE_CONFIG), ExtractionConfig(workers=1), quiet=True)
    calibration = Calibration(method="platt", slope=1.3, bias=0.2, threshold=0.5, fitted_on="valset", n=9)
    return ClipRoot(
        root, names, random_checkpoint(tmp_path_factory.mktemp("best") / "best.pth", calibration=calibration)
    )


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Run in an empty folder, because evaluation writes into the working directory."""
    monkeypatch.chdir(tmp_path)
