"""Families of forged faces. Each renders an aligned face with one kind of artefact and blends it in through a mask.

The families imitate face swaps (`self_blended`, `moved`, `autoencoder` through face masks), lip-sync (all families with mouth
masks), talking heads from one image (`still_animated`), and editing (`mouth_from_elsewhere`, `temporal_splice`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dataset.pseudo_fakes.face.appearance import denoised, low_resolution, moved, self_blended
from dataset.pseudo_fakes.face.masks import FACE_MASKS
from dataset.pseudo_fakes.face.motion import (
    frozen_mouth,
    mouth_from_elsewhere,
    mouth_retimed,
    mouth_stretched,
    splice_order,
    still_animated,
    time_smoothed,
)
from dataset.pseudo_fakes.face.pixels import as_bytes
from utils.features.face.crops import CROP_PX

TEMPORAL_SPLICE = "temporal_splice"
AUTOENCODER = "autoencoder"
LEAST_FRAMES = 4
"""Minimum number of frames of a forged sequence, because families use frames from other times."""

MATCHED_MASKS, MATCHED_PROBABILITY = ("mouth", "blob"), 0.7
"""Masks for which the rendering is usually matched to the mean colour of the area it covers, as blending tools do."""


class Rendering(Protocol):
    """A function that renders crops (T, 224, 224, 3) uint8 with an artefact."""

    def __call__(self, crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
        """Return the rendered crops, of the same shape."""


@dataclass(frozen=True)
class FaceFamily:
    """A family of forgeries.

    Attributes:
        render: renders the whole crop.
        masks: names in `FACE_MASKS`; a random one is used to blend the rendering in.
    """

    render: Rendering
    masks: tuple[str, ...]


@dataclass(frozen=True)
class ForgedFace:
    """Result of `forge_face`.

    Attributes:
        crops: (T, 224, 224, 3) uint8 RGB.
        mask: (224, 224, 1) float32 in [0, 1], the forged area.
        span: first frame of the forged part, and the frame after its last.
    """

    crops: np.ndarray
    mask: np.ndarray
    span: tuple[int, int]


ANYWHERE = ("mouth", "face", "blob", "whole")

FACE_FAKES: dict[str, FaceFamily] = {
    "low_resolution": FaceFamily(low_resolution, ANYWHERE),
    "denoised": FaceFamily(denoised, ANYWHERE),
    "mouth_retimed": FaceFamily(mouth_retimed, ("mouth",)),
    "mouth_stretched": FaceFamily(mouth_stretched, ("mouth",)),
    "moved": FaceFamily(moved, ("mouth", "face", "blob")),
    "still_animated": FaceFamily(still_animated, ("face", "whole")),
    "time_smoothed": FaceFamily(time_smoothed, ("face", "whole")),
    "self_blended": FaceFamily(self_blended, ("outline",)),
    "frozen_mouth": FaceFamily(frozen_mouth, ("mouth",)),
    "mouth_from_elsewhere": FaceFamily(mouth_from_elsewhere, ("mouth",)),
}
"""The families that need no trained model. `temporal_splice` is handled separately, as its frames are all genuine."""


def face_families(autoencoder: Rendering | None = None) -> dict[str, FaceFamily]:
    """Return the available families, including `autoencoder` if a trained one is given."""
    if autoencoder is None:
        return dict(FACE_FAKES)
    return {**FACE_FAKES, AUTOENCODER: FaceFamily(autoencoder, ANYWHERE)}


def forge_face(
    crops: np.ndarray,
    rng: np.random.Generator,
    family: str,
    *,
    families: Mapping[str, FaceFamily] = FACE_FAKES,
    strength: float = 1.0,
    span: tuple[int, int] | None = None,
) -> ForgedFace:
    """Forge a face.

    Args:
        crops: (T, 224, 224, 3) uint8 RGB, T >= `LEAST_FRAMES`.
        rng: source of all random choices.
        family: a name in `families`, or `temporal_splice`.
        families: see `face_families`.
        strength: strength of the artefact; experts are trained with 1.
        span: first frame to forge, and the frame after the last; all frames when omitted. A splice draws its own span.

    Returns:
        The forged face.
    """
    if crops.shape[1:] != (CROP_PX, CROP_PX, 3) or len(crops) < LEAST_FRAMES:
        raise ValueError(
            f"crops must be (T, {CROP_PX}, {CROP_PX}, 3) with at least {LEAST_FRAMES} frames, not {crops.shape}"
        )
    if family == TEMPORAL_SPLICE:
        order, piece = splice_order(len(crops), rng)
        return ForgedFace(crops[order], FACE_MASKS["whole"](rng), piece)
    chosen = families[family]
    place = str(rng.choice(chosen.masks))
    mask = FACE_MASKS[place](rng)
    start, end = span or (0, len(crops))
    genuine = crops[start:end]
    rendered = chosen.render(genuine, rng, strength)
    matched = place in MATCHED_MASKS and rng.random() < MATCHED_PROBABILITY
    forged = crops.copy()
    for number, (old, new) in enumerate(zip(genuine, rendered, strict=True), start=start):
        forged[number] = paste(old, new, mask, matched=matched)
    return ForgedFace(forged, mask, (start, end))


def paste(old: np.ndarray, new: np.ndarray, mask: np.ndarray, *, matched: bool) -> np.ndarray:
    """Blend a crop (224, 224, 3) into another through a mask (224, 224, 1); `matched` equalises their mean colours there."""
    change = new.astype(np.float32) - old
    if matched:
        change -= (change * mask).sum(axis=(0, 1)) / (mask.sum() + 1e-6)
    return as_bytes(old + mask * change)
