"""Training rows of one real face: short sequences of it and of its forgeries, post-processed alike, as pairs of frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from dataset.pseudo_fakes.bank import REAL
from dataset.pseudo_fakes.face import LEAST_FRAMES, FaceFamily, forge_face
from dataset.pseudo_fakes.face_autoencoder import STEPS
from dataset.pseudo_fakes.face_post_process import FacePostProcess
from utils.features.face.crops import CROP_PX
from utils.features.face.features import PAIR_SHAPE, halved

FACE_ROWS_VERSION = 1
"""Raise it when the same face and seed would give other rows: kept rows are then made anew."""

SEQUENCE_FRAMES = 24
ROW_PAIRS = 6
PLACE_CELLS = 28
"""Side of the masks: a place net says for so many cells a side whether they are forged."""


@dataclass(frozen=True)
class FaceBankConfig:
    """How many rows a face gives.

    Attributes:
        rounds: how often a sequence is taken; each is post-processed in its own way and gives one real row.
        fakes_per_round: forged rows beside it, each of another family.
        families: names of the families to draw from; empty for all.
        autoencoder_steps: training steps of the autoencoders that one of the families needs; 0 leaves it out.
    """

    rounds: int = 2
    fakes_per_round: int = 4
    families: tuple[str, ...] = ()
    autoencoder_steps: int = STEPS


@dataclass(frozen=True)
class FaceRows:
    """Rows of one clip.

    Attributes:
        families: (N,) `real` or a family's name.
        turns: (N,) the round of each; forged rows of a round are made of the sequence of its real one.
        masks: (N, 28, 28) float32 in 0..1: the forged share of each cell; zeros for real rows.
        pairs: (N, 6, 2, 112, 112, 3) uint8 RGB pairs of consecutive frames.
    """

    families: np.ndarray
    turns: np.ndarray
    masks: np.ndarray
    pairs: np.ndarray


def face_rows(
    crops: np.ndarray, rng: np.random.Generator, families: Mapping[str, FaceFamily], config: FaceBankConfig
) -> FaceRows:
    """Rows of a real face, none for one that is too short.

    Args:
        crops: (T, 224, 224, 3) uint8 RGB.
        rng: all chance.
        families: what can be drawn; they are dealt out to the rounds, so that a clip gets one twice only after all others.
        config: how many.
    """
    names, turns, masks, pairs = [], [], [], []
    deck = rng.permutation(sorted(set(config.families or families)))
    for turn in range(config.rounds if len(crops) >= LEAST_FRAMES else 0):
        start = int(rng.integers(max(1, len(crops) - SEQUENCE_FRAMES + 1)))
        sequence, processed = crops[start : start + SEQUENCE_FRAMES], FacePostProcess.draw(rng)
        first = turn * config.fakes_per_round
        for family in [REAL, *(str(deck[(first + step) % len(deck)]) for step in range(config.fakes_per_round))]:
            faces, mask = sequence, np.zeros((CROP_PX, CROP_PX, 1), np.float32)
            if family != REAL:
                forged = forge_face(sequence, rng, family, families=families)
                faces, mask = forged.crops, forged.mask
            names.append(family)
            turns.append(turn)
            masks.append(cells_of(processed.mask(mask)))
            pairs.append(frame_pairs(processed.crops(faces)))
    if not names:
        return FaceRows(
            np.zeros(0, "U1"), np.zeros(0, int), np.zeros((0, PLACE_CELLS, PLACE_CELLS), np.float32), NO_PAIRS
        )
    return FaceRows(np.array(names), np.array(turns), np.stack(masks), np.stack(pairs))


NO_PAIRS = np.zeros((0, ROW_PAIRS, *PAIR_SHAPE), np.uint8)


def cells_of(mask: np.ndarray) -> np.ndarray:
    """A mask (224, 224, 1) as the forged share of each cell (28, 28)."""
    return cv2.resize(mask[..., 0], (PLACE_CELLS, PLACE_CELLS), interpolation=cv2.INTER_AREA)


def frame_pairs(crops: np.ndarray) -> np.ndarray:
    """Evenly spread pairs of consecutive frames of crops (T, 224, 224, 3), T > 1: (6, 2, 112, 112, 3)."""
    first = np.linspace(0, len(crops) - 2, ROW_PAIRS).astype(int)
    return np.stack([np.stack([halved(crops[number]), halved(crops[number + 1])]) for number in first])
