"""Paths of each split's label file, clips and features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dataset.config import LabelNames, VideoDirs
from dataset.labels import label_path
from utils.features.config import FeatureConfig
from utils.features.store import FeatureStore

SPLITS = ("trainset", "valset", "testset")


@dataclass(frozen=True)
class Split:
    """One split of a data root.

    Attributes:
        name: `trainset`, `valset` or `testset`.
        labels: path of its label file, which may not exist.
        videos: folder of its clips.
        store: store of its features.
    """

    name: str
    labels: Path
    videos: Path
    store: FeatureStore

    def video_path(self, clip: str) -> Path:
        """Return the path of a clip."""
        return self.videos / clip

    def release(self, clip: str) -> None:
        """Do nothing: a clip that has been extracted stays where it is."""


def open_split(
    name: str, root: Path, labels: LabelNames, video_dirs: VideoDirs, features: FeatureConfig, raw_suffix: str = "_raw"
) -> Split:
    """Open the split `name` of the data root. Its features are stored in `<name><raw_suffix>`."""
    return Split(
        name=name,
        labels=label_path(root, getattr(labels, name)),
        videos=Path(root) / getattr(video_dirs, name),
        store=FeatureStore(Path(root) / f"{name}{raw_suffix}", features),
    )
