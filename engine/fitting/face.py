"""What the face expert is fitted on, and how: real faces against pseudo-fakes of them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dataset.clip_bank import KeptClip
from dataset.face_bank import FaceTask, load_faces, read_rows, train_autoencoders
from dataset.pseudo_fakes.bank import REAL
from dataset.pseudo_fakes.face_rows import FaceBankConfig, FaceRows
from dataset.workers import worker_count
from engine.config import RunConfig
from engine.fitting.base import ExpertFitter, LabelledClips
from engine.fitting.described import describe_labelled
from engine.fitting.place_net import Couples, fit_place_net
from engine.fitting.texture import FaceMaterial, describe_textures, pairs_of, texture_of
from models.blocks.fisher import FisherDirection
from models.blocks.region_texture import RegionTexture
from models.experts.face import FaceConfig, FaceExpert
from utils.errors import WorkError

log = logging.getLogger(__name__)

LABELLED = "labelled"
"""Family of the labelled fakes among those of the pseudo-fakes."""

LEAST_CLIPS = 2
"""Real faces that must be left when a fold is held out."""


class FaceFitter(ExpertFitter[FaceExpert]):
    """Fits the face expert."""

    def __init__(
        self,
        described: Sequence[KeptClip | None],
        material: dict[int, FaceMaterial],
        folds: np.ndarray,
        groups: np.ndarray,
        fakes: Sequence[int] = (),
    ) -> None:
        """Fit on this material of real clips, and judge these descriptions.

        Args:
            described: (n,) of all labelled clips.
            material: of those real ones that have a face, by their number.
            folds: (n,) of all labelled clips.
            groups: (n,) text.
            fakes: numbers of labelled fakes with a face that the texture's direction learns from too.
        """
        self.described = described
        self.fakes = list(fakes)
        self.material = material
        self.folds = folds
        self.groups = groups
        files = {number: [one.rows.name, one.texture.name] for number, one in material.items()}
        names = [kept.path.name if kept else "" for kept in described]
        recipe = json.dumps([names, files, folds.tolist(), groups.tolist(), *([self.fakes] if self.fakes else [])])
        self.key = hashlib.sha256(recipe.encode()).hexdigest()[:16]

    @classmethod
    def check(cls, config: RunConfig) -> None:
        """See `ExpertFitter.check`: the backbone's weights are loaded once."""
        section = FaceConfig.model_validate(config.model["experts"]["face"])
        texture_of(section.backbone, section.weights)

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> FaceFitter | None:
        """See `ExpertFitter.gather`.

        Raises:
            UsageError: the backbone's weights cannot be had.
            WorkError: the autoencoders could not be trained.
        """
        section = FaceConfig.model_validate(config.model["experts"]["face"])
        log.info("face: texture of %s, weights %s", section.backbone, texture_of(section.backbone, section.weights)[1])
        teaching = np.flatnonzero(clips.teaching_fakes("video")).tolist() if config.fit.labelled_fakes else []
        described = describe_labelled(clips, config)
        real = {
            number: kept
            for number, kept in enumerate(described)
            if kept is not None and clips.target[number] == 0 and kept.face_pairs() is not None
        }
        fewest = min((clips.folds[list(real)] != fold).sum() for fold in np.unique(clips.folds))
        if fewest < LEAST_CLIPS:
            log.warning("the face expert stays out: %d real clips with a face, %d without a fold", len(real), fewest)
            return None
        rows = cls._make_rows(clips, real, config)
        material = describe_textures({number: real[number] for number in rows}, rows, section, config)
        log.info("face: pseudo-fakes of %d real clips", len(material))
        fakes = [number for number in teaching if (kept := described[number]) and kept.face_pairs() is not None]
        return cls(described, material, clips.folds, clips.groups, fakes)

    @staticmethod
    def _make_rows(clips: LabelledClips, real: dict[int, KeptClip], config: RunConfig) -> dict[int, Path]:
        """The rows of the real clips by their number; a face that is too short for any is left out."""
        folder = config.fit.cache_dir / "faces"
        bank = FaceBankConfig()
        autoencoders = train_autoencoders(
            list(real.values()), folder, seed=config.fit.bank_seed, steps=bank.autoencoder_steps
        )
        tasks = {}
        for number in real:
            name = clips.table.names[number]
            path, frames = clips.table.split.video_path(name), config.extraction.max_frames
            tasks[number] = FaceTask(name, path, frames, bank, autoencoders, config.fit.bank_seed, folder)
        workers = worker_count(config.extraction.workers, len(tasks))
        files = load_faces(list(tasks.values()), workers=workers, timeout_s=config.extraction.timeout_s)
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
        reals = np.stack([own for own, _ in statistics])
        steps = self.labelled_steps(expert.texture, reals, groups, without_fold)
        fit_direction(expert.direction, rows, [made for _, made in statistics], reals, groups, *steps)
        for number, net in enumerate(expert.places):
            own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            trained = fit_place_net(Couples(rows, groups), seed=own_seed, steps=expert.place_steps)
            net.load_state_dict(trained.state_dict())
        with torch.inference_mode():
            textures = [float(expert.direction(torch.from_numpy(own))) for own, _ in statistics]
            places = [float(expert.place(pairs_of(self.material[number].clip))) for number in members]
        expert.level(textures, places)

    @torch.inference_mode()
    def labelled_steps(
        self, texture: RegionTexture, reals: np.ndarray, groups: np.ndarray, without_fold: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labelled fakes beside the real clips of their own group, outside a fold, so that publishers do not pass for forgery.

        Returns:
            Texture of the fakes and of the real clips, (G, D) each: the means of every group that holds both, so that a group
            with many fakes says no more than another.
        """
        fakes = [fake for fake in self.fakes if self.folds[fake] != without_fold]
        forged, partners = [], []
        for group in np.unique(groups):
            faces = [self.described[fake] for fake in fakes if self.groups[fake] == group]
            own = [texture(pairs_of(clip)[:, 0]).numpy() for clip in faces if clip is not None]
            if own:
                forged.append(np.mean(own, axis=0))
                partners.append(reals[groups == group].mean(axis=0))
        shape = (len(forged), reals.shape[1])
        return np.reshape(forged, shape), np.reshape(partners, shape)

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


def fit_direction(
    direction: FisherDirection,
    rows: Sequence[FaceRows],
    textures: Sequence[np.ndarray],
    reals: np.ndarray,
    groups: np.ndarray,
    labelled: np.ndarray,
    beside: np.ndarray,
) -> None:
    """Fit the texture direction.

    Args:
        direction: to be fitted.
        rows: of real clips (n,).
        textures: of those rows, (N, D) a clip.
        reals: (n, D) texture of the clips as they are.
        groups: (n,) text.
        labelled: (G, D) texture of labelled fakes, one more family beside the pseudo-fakes.
        beside: (G, D) of the real clips that they are compared with.
    """
    forged, partners, families = [labelled], [beside], [np.full(len(labelled), LABELLED)]
    for one, made_textures in zip(rows, textures, strict=True):
        made = one.families != REAL
        real_of = {turn: row for row, turn in enumerate(one.turns) if not made[row]}
        forged.append(made_textures[made])
        partners.append(made_textures[[real_of[turn] for turn in one.turns[made]]])
        families.append(one.families[made])
    direction.fit(
        np.concatenate(forged), np.concatenate(partners), np.concatenate(families), reals.astype(np.float64), groups
    )
