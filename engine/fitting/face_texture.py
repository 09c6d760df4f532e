"""Texture statistics of real faces and their pseudo-fakes, stored in the training cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from engine.config import RunConfig
from engine.fitting.base import cache_runner
from engine.fitting.clip_features import CachedClip
from engine.fitting.face_examples import read_examples
from models.blocks.region_texture import RegionTexture, Weights
from models.experts.face import FaceConfig
from utils.cache import compute_missing, entry_key
from utils.errors import WorkError
from utils.files import atomic_path

TEXTURE_VERSION = 1
"""Increase it when the same frames and weights would give different statistics."""


@dataclass(frozen=True)
class FaceTrainingData:
    """Cached training data of one real clip.

    Attributes:
        clip: its features.
        examples: file of its training examples, see `read_examples`.
        texture: file of the texture statistics of the clip and its examples.
    """

    clip: CachedClip
    examples: Path
    texture: Path

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the texture statistics of the clip itself (D,) and of its examples (N, D)."""
        with np.load(self.texture, allow_pickle=False) as stored:
            return stored["clip"], stored["examples"]


@dataclass(frozen=True)
class TextureTask:
    """Task of computing one clip's texture statistics.

    Attributes:
        clip: its features.
        examples: file of its training examples.
        backbone: timm name of the network.
        weights: the network's weights.
        folder: folder of the cache.
    """

    clip: CachedClip
    examples: Path
    backbone: str
    weights: Weights
    folder: Path

    @property
    def name(self) -> str:
        """The file name of the examples, used in log lines."""
        return self.examples.name

    @property
    def cache_path(self) -> Path:
        """The file of the statistics."""
        key = entry_key(TEXTURE_VERSION, self.clip.path.name, self.examples.name, self.backbone, self.weights)
        return self.folder / f"texture_{key}.npz"


def face_pairs(clip: CachedClip) -> torch.Tensor:
    """Return the face pairs of a clip, which must have a face."""
    pairs = clip.face_pairs()
    assert pairs is not None
    return torch.from_numpy(pairs)


@lru_cache(maxsize=2)
def pretrained_texture(backbone: str, weights: Weights) -> tuple[RegionTexture, str]:
    """Return the texture network of a backbone and the origin of its weights; loaded once per process.

    Raises:
        UsageError: the backbone or its weights are not available.
    """
    texture = RegionTexture(backbone).eval()
    return texture, texture.start(weights)


def load_textures(
    clips: dict[int, CachedClip], examples: dict[int, Path], section: FaceConfig, config: RunConfig
) -> dict[int, FaceTrainingData]:
    """Compute the texture statistics of real clips that are not in the training cache.

    Args:
        clips: clip index -> features.
        examples: clip index -> file of training examples.
        section: backbone and weights.
        config: the run config.

    Raises:
        WorkError: the statistics of a clip could not be computed.
    """
    folder = config.fit.cache_dir / "faces"
    tasks = {
        number: TextureTask(clip, examples[number], section.backbone, section.weights, folder)
        for number, clip in clips.items()
    }
    for reason in compute_missing(tasks.values(), store_texture, cache_runner(config), step="face textures").values():
        raise WorkError(f"the texture of a face could not be computed: {reason}")
    return {number: FaceTrainingData(task.clip, task.examples, task.cache_path) for number, task in tasks.items()}


@torch.inference_mode()
def store_texture(task: TextureTask) -> None:
    """Compute and store one clip's texture statistics."""
    texture, _ = pretrained_texture(task.backbone, task.weights)
    own = texture(face_pairs(task.clip)[:, 0]).numpy()
    pairs_of_examples = read_examples(task.examples).pairs
    examples = [texture(torch.from_numpy(np.array(pairs[:, 0]))).numpy() for pairs in pairs_of_examples]
    with atomic_path(task.cache_path) as temporary, open(temporary, "wb") as file:
        np.savez(file, clip=own, examples=np.stack(examples))
