"""What the experts of pictures are fitted on, kept on disk clip by clip: an interrupted training goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset.workers import run_in_workers
from utils.features.config import FEATURE_VERSION, FeatureConfig
from utils.features.extract import ClipFeatures, extract_clip
from utils.features.face.features import PAIR_SHAPE
from utils.features.speech import SPEECH_VERSION
from utils.files import atomic_path, is_whole_archive

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipTask:
    """One clip to describe.

    Attributes:
        name: what the caller calls it.
        path: where it lies.
        features: how it is described.
        max_frames: frames from there on do not count.
        folder: where its description is kept.
    """

    name: str
    path: Path
    features: FeatureConfig
    max_frames: int | None
    folder: Path

    @property
    def kept(self) -> Path:
        """The file of its description; another one whenever the description would differ."""
        size = self.path.stat().st_size if self.path.is_file() else 0
        recipe = [self.name, size, self.max_frames, self.features.fingerprint(), FEATURE_VERSION, SPEECH_VERSION]
        return self.folder / f"{hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:24]}.npz"


@dataclass(frozen=True)
class KeptClip:
    """A description on disk; its arrays are read when they are asked for."""

    path: Path

    def covariance(self) -> np.ndarray | None:
        """(K, K) float32; `None` for a clip that has none."""
        with np.load(self.path, allow_pickle=False) as kept:
            return kept["covariance"] if len(kept["covariance"]) else None

    def face_pairs(self) -> np.ndarray | None:
        """(16, 2, 112, 112, 3) uint8, see `FaceFeatures`; `None` for a clip without a face."""
        with np.load(self.path, allow_pickle=False) as kept:
            return kept["pairs"] if len(kept["pairs"]) else None

    def sync(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mouth (T, 24, 28) uint8 and speech (T + 2 PAD, 40) float32; `None` where they cannot be compared."""
        with np.load(self.path, allow_pickle=False) as kept:
            return (kept["mouth"], kept["speech"]) if len(kept["mouth"]) else None


def describe_clips(tasks: Iterable[ClipTask], *, workers: int, timeout_s: float) -> list[KeptClip | None]:
    """The descriptions of clips in order, made in worker processes unless they are kept already.

    Returns:
        One per task; `None` for a clip that cannot be read: the log says why.
    """
    tasks = list(tasks)
    missing = [task for task in tasks if not is_whole_archive(task.kept)]
    for folder in {task.folder for task in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    made = run_in_workers(keep_clip, missing, workers=workers, timeout_s=timeout_s) if missing else ()
    for number, (task, failure, reason) in enumerate(made, start=1):
        log.info("%d of %d clips described", number, len(missing))
        if reason or failure:
            log.warning("%s is left out: %s", task.name, reason or failure)
    return [KeptClip(task.kept) if is_whole_archive(task.kept) else None for task in tasks]


def keep_clip(task: ClipTask) -> str:
    """Describe one clip and keep the description; returns the reason code of a failure, or nothing."""
    features = extract_clip(task.path, task.features, max_frames=task.max_frames)
    if features.facts.status == "failed":
        return features.facts.reason
    covariance, mouth, speech = (np.zeros(0, np.float32) if part is None else part for part in parts_of(features))
    pairs = np.zeros((0, *PAIR_SHAPE), np.uint8) if features.face is None else features.face.pairs
    with atomic_path(task.kept) as temporary, open(temporary, "wb") as file:
        np.savez(file, covariance=covariance, mouth=mouth, speech=speech, pairs=pairs)
    return ""


def parts_of(features: ClipFeatures) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Covariance, mouth and speech; `None` for what says nothing."""
    covariance = features.covariance if features.has_covariance else None
    if features.face is None or not features.has_sync:
        return covariance, None, None
    return covariance, features.face.mouth, features.speech
