"""What the face expert is fitted on, and how: real faces against pseudo-fakes of them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataset.clip_bank import KeptClip
from dataset.face_bank import FaceTask, load_faces, read_rows, train_autoencoders
from dataset.pseudo_fakes.bank import REAL
from dataset.pseudo_fakes.face_rows import FaceBankConfig, FaceRows
from dataset.workers import default_workers, run_in_workers
from engine.config import RunConfig
from engine.fitting.base import ExpertFitter, FitOptions, LabelledClips
from engine.fitting.described import describe_labelled
from engine.fitting.place_net import Couples, fit_place_net
from models.blocks.fisher import FisherDirection
from models.blocks.region_texture import RegionTexture, Weights
from models.experts.face import FaceConfig, FaceExpert
from utils.errors import WorkError
from utils.files import atomic_path

log = logging.getLogger(__name__)

LEAST_CLIPS = 2
"""Real faces that must be left when a fold is held out."""

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


class FaceFitter(ExpertFitter[FaceExpert]):
    """Fits the face expert."""

    def __init__(
        self,
        described: Sequence[KeptClip | None],
        material: dict[int, FaceMaterial],
        folds: np.ndarray,
        groups: np.ndarray,
    ) -> None:
        """Fit on this material of real clips, and judge these descriptions.

        Args:
            described: (n,) of all labelled clips.
            material: of those real ones that have a face, by their number.
            folds: (n,) of all labelled clips.
            groups: (n,) text.
        """
        self.described = described
        self.material = material
        self.folds = folds
        self.groups = groups
        files = {number: [one.rows.name, one.texture.name] for number, one in material.items()}
        names = [kept.path.name if kept else "" for kept in described]
        recipe = json.dumps([names, files, folds.tolist(), groups.tolist()])
        self.key = hashlib.sha256(recipe.encode()).hexdigest()[:16]

    @classmethod
    def check(cls, config: RunConfig) -> None:
        """See `ExpertFitter.check`: the backbone's weights are loaded once."""
        section = FaceConfig.model_validate(config.model["experts"]["face"])
        texture_of(section.backbone, section.weights)

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig, options: FitOptions) -> FaceFitter | None:
        """See `ExpertFitter.gather`.

        Raises:
            UsageError: the backbone's weights cannot be had.
            WorkError: the autoencoders could not be trained.
        """
        section = FaceConfig.model_validate(config.model["experts"]["face"])
        log.info("face: texture of %s, weights %s", section.backbone, texture_of(section.backbone, section.weights)[1])
        described = describe_labelled(clips, config, options)
        real = {
            number: kept
            for number, kept in enumerate(described)
            if kept is not None and clips.target[number] == 0 and kept.face_pairs() is not None
        }
        fewest = min((clips.folds[list(real)] != fold).sum() for fold in np.unique(clips.folds))
        if fewest < LEAST_CLIPS:
            log.warning("the face expert stays out: %d real clips with a face, %d without a fold", len(real), fewest)
            return None
        rows = cls._make_rows(clips, real, config, options)
        material = describe_textures({number: real[number] for number in rows}, rows, section, config, options)
        log.info("face: pseudo-fakes of %d real clips", len(material))
        return cls(described, material, clips.folds, clips.groups)

    @staticmethod
    def _make_rows(
        clips: LabelledClips, real: dict[int, KeptClip], config: RunConfig, options: FitOptions
    ) -> dict[int, Path]:
        """The rows of the real clips by their number; a face that is too short for any is left out."""
        folder = options.cache / "faces"
        bank = FaceBankConfig()
        autoencoders = train_autoencoders(list(real.values()), folder, seed=config.seed, steps=bank.autoencoder_steps)
        tasks = {}
        for number in real:
            name = clips.table.names[number]
            path, frames = clips.table.split.video_path(name), config.extraction.max_frames
            tasks[number] = FaceTask(name, path, frames, bank, autoencoders, config.seed, folder)
        files = load_faces(
            list(tasks.values()), workers=workers_for(tasks, config), timeout_s=config.extraction.timeout_s
        )
        made = {number: file for number, file in zip(tasks, files, strict=True) if file is not None}
        return {number: file for number, file in made.items() if len(read_rows(file).families)}

    def members(self, without_fold: int | None) -> list[int]:
        """Numbers of the real clips outside a fold."""
        return [number for number in self.material if without_fold is None or self.folds[number] != without_fold]

    def fit(self, expert: FaceExpert, *, seed: int, without_fold: int | None = None) -> None:
        """See `ExpertFitter.fit`."""
        members = self.members(without_fold)
        if len(members) < LEAST_CLIPS:
            raise WorkError("fewer than two real clips with a face are left to fit on")
        groups = self.groups[members]
        expert.texture.start(expert.weights)
        rows = [read_rows(self.material[number].rows) for number in members]
        statistics = [self.material[number].statistics() for number in members]
        fit_direction(expert.direction, rows, statistics, groups)
        for number, net in enumerate(expert.places):
            own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            trained = fit_place_net(Couples(rows, groups), seed=own_seed, steps=expert.place_steps)
            net.load_state_dict(trained.state_dict())
        with torch.inference_mode():
            textures = [float(expert.direction(torch.from_numpy(own))) for own, _ in statistics]
            places = [float(expert.place(pairs_of(self.material[number].clip))) for number in members]
        expert.level(textures, places)

    @torch.inference_mode()
    def judge(self, expert: FaceExpert, clips: np.ndarray) -> np.ndarray:
        """See `ExpertFitter.judge`."""
        faces = [None if (kept := self.described[clip]) is None else kept.face_pairs() for clip in clips]
        return np.array([np.nan if pairs is None else float(expert.score(torch.from_numpy(pairs))) for pairs in faces])

    @torch.inference_mode()
    def stand_ins(self, expert: FaceExpert, fold: int) -> np.ndarray:
        """See `ExpertFitter.stand_ins`."""
        scores = []
        for number in (number for number in self.material if self.folds[number] == fold):
            rows = read_rows(self.material[number].rows)
            for row in np.flatnonzero(rows.families != REAL):
                scores.append(float(expert.score(torch.from_numpy(np.array(rows.pairs[row])))))
        return np.array(scores)


def workers_for(tasks: dict[Any, Any], config: RunConfig) -> int:
    """How many processes to use."""
    return max(1, min(config.extraction.workers or default_workers(), len(tasks)))


def pairs_of(clip: KeptClip) -> torch.Tensor:
    """The pairs of a clip that has a face."""
    pairs = clip.face_pairs()
    assert pairs is not None
    return torch.from_numpy(pairs)


def fit_direction(
    direction: FisherDirection,
    rows: Sequence[FaceRows],
    statistics: Sequence[tuple[np.ndarray, np.ndarray]],
    groups: np.ndarray,
) -> None:
    """Fit the texture direction on clips (n,): their rows, their statistics (`FaceMaterial.statistics`) and groups."""
    forged, partners, families = [], [], []
    for one, (_, textures) in zip(rows, statistics, strict=True):
        made = one.families != REAL
        real_of = {turn: row for row, turn in enumerate(one.turns) if not made[row]}
        forged.append(textures[made])
        partners.append(textures[[real_of[turn] for turn in one.turns[made]]])
        families.append(one.families[made])
    reals = np.stack([own for own, _ in statistics])
    direction.fit(
        np.concatenate(forged), np.concatenate(partners), np.concatenate(families), reals.astype(np.float64), groups
    )


@lru_cache(maxsize=2)
def texture_of(backbone: str, weights: Weights) -> tuple[RegionTexture, str]:
    """The texture statistics of a backbone, and where its weights came from; once per process."""
    texture = RegionTexture(backbone).eval()
    return texture, texture.start(weights)


def describe_textures(
    clips: dict[int, KeptClip], rows: dict[int, Path], section: FaceConfig, config: RunConfig, options: FitOptions
) -> dict[int, FaceMaterial]:
    """The material of real clips, by their number: texture statistics are made in worker processes unless they are kept.

    Raises:
        WorkError: the statistics of a clip could not be made.
    """
    tasks = {
        number: TextureTask(clip, rows[number], section.backbone, section.weights, options.cache / "faces")
        for number, clip in clips.items()
    }
    missing = [task for task in tasks.values() if not task.kept.is_file()]
    workers, limit_s = workers_for(tasks, config), config.extraction.timeout_s
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
