"""The fitter of the face expert, trained on real faces and pseudo-fakes made from them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dataset.pseudo_fakes.common import REAL
from engine.config import RunConfig
from engine.fitting.base import FITTERS, ExpertFitter, LabelledClips, cache_runner, enough_real_clips
from engine.fitting.clip_features import CachedClip, extract_labelled
from engine.fitting.face_direction import TexturePairs, fit_direction, labelled_pairs, pseudo_fake_pairs
from engine.fitting.face_examples import FaceExampleCounts, FaceTask, load_faces, read_examples, train_autoencoders
from engine.fitting.face_texture import FaceTrainingData, face_pairs, load_textures, pretrained_texture
from engine.fitting.forgery_localizer import RealFakePairs, fit_localizer
from models.blocks.region_texture import RegionTexture
from models.experts.face import FaceConfig, FaceExpert
from utils.cache import content_key, entry_key
from utils.errors import WorkError

log = logging.getLogger(__name__)

LEAST_CLIPS = 2
"""Minimum number of real clips with a face outside every fold."""

LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class LabelledFaces:
    """Features of all labelled clips.

    Attributes:
        features: one per clip; `None` for a clip that cannot be read.
        folds: (n,) int.
        groups: (n,) text.
        training_fakes: indices of the labelled fakes with a face; they are also used to fit the texture direction.
    """

    features: Sequence[CachedClip | None]
    folds: np.ndarray
    groups: np.ndarray
    training_fakes: tuple[int, ...] = ()


@FITTERS.register("face", FaceConfig)
class FaceFitter(ExpertFitter[FaceExpert]):
    """The fitter of the face expert."""

    def __init__(self, labelled: LabelledFaces, training: dict[int, FaceTrainingData]) -> None:
        """Store the labelled clips and the training data.

        Args:
            labelled: all labelled clips.
            training: training data of the real clips with a face, by clip index.
        """
        self.labelled = labelled
        self.training = training
        files = {number: [one.examples.name, one.texture.name] for number, one in training.items()}
        names = [clip.path.name if clip else "" for clip in labelled.features]
        self.key = entry_key(
            names, files, labelled.folds.tolist(), labelled.groups.tolist(), list(labelled.training_fakes)
        )

    @classmethod
    def check(cls, config: RunConfig) -> None:
        """Check that the backbone's weights can be loaded."""
        section = FaceConfig.model_validate(config.model["experts"]["face"])
        pretrained_texture(section.backbone, section.weights)

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> FaceFitter | None:
        """Extract the faces and make their pseudo-fakes; see `ExpertFitter.gather`.

        Raises:
            UsageError: the backbone's weights are not available.
            WorkError: the autoencoders could not be trained.
        """
        section = FaceConfig.model_validate(config.model["experts"]["face"])
        _, origin = pretrained_texture(section.backbone, section.weights)
        log.info("face: texture network %s, weights %s", section.backbone, origin)
        fakes = np.flatnonzero(clips.training_fakes("video")).tolist() if config.fit.labelled_fakes else []
        features = extract_labelled(clips, config)
        faces = {
            number: clip for number, clip in enumerate(features) if clip is not None and clip.face_pairs() is not None
        }
        real = {number: clip for number, clip in faces.items() if clips.target[number] == 0}
        if not enough_real_clips("face", "a face", clips.folds[list(real)], clips.folds, least=LEAST_CLIPS):
            return None
        examples = cls._make_examples(clips, real, config)
        training = load_textures({number: real[number] for number in examples}, examples, section, config)
        log.info("face: pseudo-fakes of %d real clips", len(training))
        training_fakes = tuple(number for number in fakes if number in faces)
        return cls(LabelledFaces(features, clips.folds, clips.groups, training_fakes), training)

    @staticmethod
    def _make_examples(clips: LabelledClips, real: dict[int, CachedClip], config: RunConfig) -> dict[int, Path]:
        """Return the files of the real clips' training examples by clip index; faces with too few frames are skipped."""
        folder, seed, counts = config.fit.cache_dir / "faces", config.fit.bank_seed, FaceExampleCounts()
        autoencoders = train_autoencoders(
            list(real.values()),
            folder,
            cache_runner(config),
            seed=seed,
            steps=counts.autoencoder_steps,
        )
        tasks = {}
        for number in real:
            name = clips.table.names[number]
            path, frames = clips.table.split.video_path(name), config.extraction.max_frames
            tasks[number] = FaceTask(name, path, content_key(path), frames, counts, autoencoders, seed, folder)
        files = load_faces(list(tasks.values()), cache_runner(config))
        made = {number: file for number, file in zip(tasks, files, strict=True) if file is not None}
        return {number: file for number, file in made.items() if len(read_examples(file).families)}

    def members(self, without_fold: int | None) -> list[int]:
        """Return the indices of the real clips outside a fold."""
        return [number for number in self.training if self.labelled.folds[number] != without_fold]

    def fit(self, expert: FaceExpert, *, seed: int, without_fold: int | None = None) -> None:
        """Fit the texture direction and train the localizers; see `ExpertFitter.fit`."""
        members = self.members(without_fold)
        if len(members) < LEAST_CLIPS:
            raise WorkError("fewer than two real clips with a face are left to fit on")
        groups = self.labelled.groups[members]
        expert.texture.start(expert.weights)
        examples = [read_examples(self.training[number].examples) for number in members]
        statistics = [self.training[number].statistics() for number in members]
        reals = np.stack([own for own, _ in statistics])
        labelled = self.labelled_fakes(expert.texture, reals, groups, without_fold)
        pairs = [labelled, *pseudo_fake_pairs(examples, [textures for _, textures in statistics])]
        fit_direction(expert.direction, pairs, reals, groups)
        for number, net in enumerate(expert.places):
            own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            trained = fit_localizer(RealFakePairs(examples, groups), seed=own_seed, steps=expert.place_steps)
            net.load_state_dict(trained.state_dict())
        with torch.inference_mode():
            textures = [float(expert.direction(torch.from_numpy(own))) for own, _ in statistics]
            places = [float(expert.place(face_pairs(self.training[number].clip))) for number in members]
        standardise(expert, textures, places)

    @torch.inference_mode()
    def labelled_fakes(
        self, texture: RegionTexture, reals: np.ndarray, groups: np.ndarray, without_fold: int | None
    ) -> TexturePairs:
        """Compare labelled fakes outside a fold with the real clips of their own group.

        Clips of a group share their publisher, so the comparison is not confounded by it. Each pair contains the means of one
        group, so all groups have the same weight.

        Args:
            texture: the texture network.
            reals: (M, D) textures of the real clips outside the fold.
            groups: (M,) their groups.
            without_fold: the fold; `None` for none.
        """
        labelled = self.labelled
        fakes = [fake for fake in labelled.training_fakes if labelled.folds[fake] != without_fold]
        forged, real = [], []
        for group in np.unique(groups):
            faces = [labelled.features[fake] for fake in fakes if labelled.groups[fake] == group]
            own = [texture(face_pairs(clip)[:, 0]).numpy() for clip in faces if clip is not None]
            if own:
                forged.append(np.mean(own, axis=0))
                real.append(reals[groups == group].mean(axis=0))
        shape = (len(forged), reals.shape[1])
        return labelled_pairs(np.reshape(forged, shape), np.reshape(real, shape))

    @torch.inference_mode()
    def score(self, expert: FaceExpert, clips: np.ndarray) -> np.ndarray:
        """Score labelled clips; see `ExpertFitter.score`."""
        found = (self.labelled.features[clip] for clip in clips)
        faces = (None if features is None else features.face_pairs() for features in found)
        return np.array([np.nan if pairs is None else float(expert.score(torch.from_numpy(pairs))) for pairs in faces])

    @torch.inference_mode()
    def score_pseudo_fakes(self, expert: FaceExpert, fold: int) -> np.ndarray:
        """Score held-out pseudo-fakes; see `ExpertFitter.score_pseudo_fakes`."""
        scores = []
        for number in (number for number in self.training if self.labelled.folds[number] == fold):
            examples = read_examples(self.training[number].examples)
            for example in np.flatnonzero(examples.families != REAL):
                scores.append(float(expert.score(torch.from_numpy(np.array(examples.pairs[example])))))
        return np.array(scores)


@torch.no_grad()
def standardise(expert: FaceExpert, texture: Iterable[float], place: Iterable[float]) -> None:
    """Set the expert's centre and spread from the raw scores of real clips."""
    for number, scores in enumerate((texture, place)):
        values = torch.tensor(list(scores), dtype=torch.float64)
        expert.centre[number] = values.median()
        expert.spread[number] = values.std(correction=0).clamp(min=LEAST_SPREAD)
