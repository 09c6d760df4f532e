"""Fitting of the face expert's texture direction: from real faces to their forgeries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dataset.pseudo_fakes.common import REAL
from engine.fitting.face_examples import FaceExamples
from models.blocks.fisher import CLIP, FisherDirection

LEAST_SPREAD = 1e-6
RIDGE = 1.0
"""Ridge added to the covariance, as a multiple of its mean variance."""

STEP_SHARE = 0.3
"""Weight of the covariance of the real-to-forged differences."""

LABELLED = "labelled"
"""Family name of the labelled fakes."""


@dataclass(frozen=True)
class TexturePairs:
    """Textures of forged sequences and of the real sequences to compare them with.

    Attributes:
        forged: (N, D).
        real: (N, D).
        families: (N,) names; every family has the same weight.
    """

    forged: np.ndarray
    real: np.ndarray
    families: np.ndarray


def pseudo_fake_pairs(examples: Sequence[FaceExamples], textures: Sequence[np.ndarray]) -> list[TexturePairs]:
    """Pair each pseudo-fake with the real sequence that it was made from.

    Args:
        examples: the examples of each clip.
        textures: textures (N, D) of each clip's examples.
    """
    pairs = []
    for one, texture in zip(examples, textures, strict=True):
        forged = one.families != REAL
        real_of_round = {number: example for example, number in enumerate(one.rounds) if not forged[example]}
        real = texture[[real_of_round[number] for number in one.rounds[forged]]]
        pairs.append(TexturePairs(texture[forged], real, one.families[forged]))
    return pairs


def labelled_pairs(forged: np.ndarray, real: np.ndarray) -> TexturePairs:
    """Return labelled fakes (G, D) and the real clips (G, D) of their groups as one more family."""
    return TexturePairs(forged, real, np.full(len(forged), LABELLED))


@torch.no_grad()
def fit_direction(
    direction: FisherDirection, pairs: Sequence[TexturePairs], reals: np.ndarray, groups: np.ndarray
) -> None:
    """Fit a direction: the inverse covariance of real clips times the mean difference between forged and real faces.

    Args:
        direction: receives the result.
        pairs: real and forged sequences.
        reals: (M, D) textures of unprocessed real clips.
        groups: (M,) text; the covariance is computed within groups if a group has two clips.
    """
    forged, real = np.concatenate([one.forged for one in pairs]), np.concatenate([one.real for one in pairs])
    families, reals = np.concatenate([one.families for one in pairs]), reals.astype(np.float64)
    both = np.concatenate([real, forged]).astype(np.float64)
    median, spread = np.median(both, axis=0), both.std(axis=0) + LEAST_SPREAD

    def scaled(features: np.ndarray) -> np.ndarray:
        return np.clip((features - median) / spread, -CLIP, CLIP)

    steps, clips = scaled(forged) - scaled(real), scaled(reals)
    shift = np.mean([steps[families == family].mean(axis=0) for family in np.unique(families)], axis=0)
    within = covariance_within(clips, groups)
    scatter = within + STEP_SHARE * np.cov(steps.T)
    weight = np.linalg.solve(scatter + RIDGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter)), shift)
    weight /= max(np.sqrt(weight @ within @ weight), LEAST_SPREAD)
    offset = np.median(clips @ weight)
    for buffer, values in ((direction.median, median), (direction.spread, spread), (direction.weight, weight)):
        buffer.copy_(torch.from_numpy(values))
    direction.offset.fill_(float(offset))


def covariance_within(features: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the covariance (D, D) of features (M, D) within groups; if no group has two clips, that of all clips."""
    members = [features[groups == group] for group in np.unique(groups)]
    shared = [part - part.mean(axis=0) for part in members if len(part) > 1]
    if not shared:
        shared = [features - features.mean(axis=0)]
    centred = np.concatenate(shared)
    return centred.T @ centred / max(len(centred) - len(shared), 1)
