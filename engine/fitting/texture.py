"""Texture statistics of real faces and their pseudo-fakes, computed once in worker processes and kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from dataset.clip_bank import KeptClip
from dataset.face_bank import read_rows
from dataset.workers import run_in_workers, worker_count
from engine.config import RunConfig
from models.blocks.region_texture import RegionTexture, Weights
from models.experts.face import FaceConfig
from utils.errors import WorkError
from utils.files import atomic_path, is_whole_archive

TEXTURE_VERSION = 1
"""Raise it when the same frames and weights would give other statistics."""


@dataclass(frozen=True)
class FaceMaterial:
    """What is kept of a real clip.

    Attributes:
        clip: its description.
        rows: file of its sequences and pseudo-fakes, see `read_rows`.
        texture: file of the texture statistics of both.
    """

    clip: KeptClip
    rows: Path
    texture: Path

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Texture of the clip as it is (D,), and of its rows (N, D)."""
        with np.load(self.texture, allow_pickle=False) as kept:
            return kept["clip"], kept["rows"]


@dataclass(frozen=True)
class TextureTask:
    """Texture statistics to compute."""

    clip: KeptClip
    rows: Path
    backbone: str
    weights: Weights
    folder: Path

    @property
    def kept(self) -> Path:
        """The file of the statistics."""
        recipe = [TEXTURE_VERSION, self.clip.path.name, self.rows.name, self.backbone, self.weights]
        return self.folder / f"texture_{hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:24]}.npz"


def pairs_of(clip: KeptClip) -> torch.Tensor:
    """The pairs of a clip that has a face."""
    pairs = clip.face_pairs()
    assert pairs is not None
    return torch.from_numpy(pairs)


@lru_cache(maxsize=2)
def texture_of(backbone: str, weights: Weights) -> tuple[RegionTexture, str]:
    """The texture statistics of a backbone, and where its weights came from; once per process."""
    texture = RegionTexture(backbone).eval()
    return texture, texture.start(weights)


def describe_textures(
    clips: dict[int, KeptClip], rows: dict[int, Path], section: FaceConfig, config: RunConfig
) -> dict[int, FaceMaterial]:
    """The material of real clips, by their number: texture statistics are made in worker processes unless they are kept.

    Raises:
        WorkError: the statistics of a clip could not be made.
    """
    tasks = {
        number: TextureTask(clip, rows[number], section.backbone, section.weights, config.fit.cache_dir / "faces")
        for number, clip in clips.items()
    }
    missing = [task for task in tasks.values() if not is_whole_archive(task.kept)]
    workers, limit_s = worker_count(config.extraction.workers, len(tasks)), config.extraction.timeout_s
    made = run_in_workers(keep_texture, missing, workers=workers, timeout_s=limit_s) if missing else ()
    for _, _, failure in made:
        if failure:
            raise WorkError(f"the texture of a face could not be described: {failure}")
    return {number: FaceMaterial(task.clip, task.rows, task.kept) for number, task in tasks.items()}


@torch.inference_mode()
def keep_texture(task: TextureTask) -> None:
    """Compute one clip's texture statistics and keep them."""
    texture, _ = texture_of(task.backbone, task.weights)
    own = texture(pairs_of(task.clip)[:, 0]).numpy()
    rows = [texture(torch.from_numpy(np.array(pairs[:, 0]))).numpy() for pairs in read_rows(task.rows).pairs]
    with atomic_path(task.kept) as temporary, open(temporary, "wb") as file:
        np.savez(file, clip=own, rows=np.stack(rows))
