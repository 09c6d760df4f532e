"""Features of the labelled clips, extracted once for all fitters and stored in the training cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.config import RunConfig
from engine.fitting.base import LabelledClips, cache_runner
from utils.cache import compute_missing, content_key, entry_key
from utils.features.base import features_of
from utils.features.config import FEATURE_VERSION, FeatureConfig
from utils.features.extract import ExtractionOptions, extract_clip
from utils.features.speech import SPEECH_VERSION
from utils.files import atomic_path

INPUTS = ("covariance", "face", "mouth", "motion", "speech")
"""Arrays that this package's fitters read from the cache if the config enables their features."""


@dataclass(frozen=True)
class FeatureTask:
    """Task of extracting one clip's features.

    Attributes:
        name: the clip's name in the log.
        path: the clip.
        content: `content_key` of the clip.
        features: the feature config.
        max_frames: number of frames to use; `None` for all.
        folder: folder of the cache.
        inputs: names of the arrays to store.
    """

    name: str
    path: Path
    content: str
    features: FeatureConfig
    max_frames: int | None
    folder: Path
    inputs: tuple[str, ...] = INPUTS

    @property
    def cache_path(self) -> Path:
        """The file of the extracted features."""
        versions = [self.features.fingerprint(), FEATURE_VERSION, SPEECH_VERSION]
        others = () if self.inputs == INPUTS else self.inputs
        return self.folder / f"{entry_key(self.content, self.max_frames, *versions, *others)}.npz"


@dataclass(frozen=True)
class CachedClip:
    """Cached features of one clip. Every call reads them from disk."""

    path: Path

    def array(self, name: str) -> np.ndarray | None:
        """Return an extracted input without padding, or `None` if the clip has none."""
        with np.load(self.path, allow_pickle=False) as stored:
            return stored[name] if name in stored.files else None

    def covariance(self) -> np.ndarray | None:
        """Return the frame covariance (K, K) float32, or `None` for a clip without one."""
        return self.array("covariance")

    def face_pairs(self) -> np.ndarray | None:
        """Return the face pairs (16, 2, 112, 112, 3) uint8, see `FaceFeatures`, or `None` for a clip without a face."""
        return self.array("face")

    def sync(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return mouth (T, 24, 28) uint8 and speech (T + 2 PAD, 40) float32, or `None` if one of them is missing."""
        mouth, speech = self.array("mouth"), self.array("speech")
        return None if mouth is None or speech is None else (mouth, speech)


def extract_labelled(
    clips: LabelledClips, config: RunConfig, inputs: tuple[str, ...] = INPUTS
) -> list[CachedClip | None]:
    """Return the cached features of the labelled clips, extracting those that are missing.

    Args:
        clips: the clips.
        config: the run config; `fit.cache` is the folder of the cache.
        inputs: names of the arrays to extract, usually `Expert.inputs`. Those not enabled in the config are skipped.

    Returns:
        One per clip, in order; `None` for a clip that cannot be read. The reason is logged.
    """
    folder = config.fit.cache_dir / "clips"
    tasks = []
    for name in clips.table.names:
        path = clips.table.split.video_path(name)
        frames = config.extraction.max_frames
        tasks.append(FeatureTask(name, path, content_key(path), config.features, frames, folder, inputs))
    failures = compute_missing(tasks, store_features, cache_runner(config), step="clip features")
    return [None if task.cache_path in failures else CachedClip(task.cache_path) for task in tasks]


def store_features(task: FeatureTask) -> str:
    """Extract and store one clip's features; return the reason code of a failure, or an empty string."""
    names = [name for name in features_of(task.inputs) if name in task.features.enabled()]
    clip = extract_clip(task.path, task.features, features=names, options=ExtractionOptions(task.max_frames))
    if clip.facts.status == "failed":
        return clip.facts.reason
    arrays: dict[str, Any] = {}
    for feature in task.features.build(names):
        found = feature.to_arrays(clip.values[feature.name], clip.facts)
        arrays |= {name: array for name, array in found.items() if array is not None and name in task.inputs}
    with atomic_path(task.cache_path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    return ""
