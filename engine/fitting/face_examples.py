"""Training examples of the face expert: short sequences of a real face and of its pseudo-fakes, as pairs of frames."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from dataset.pseudo_fakes.common import REAL, clip_generator
from dataset.pseudo_fakes.face.autoencoder import (
    AUTOENCODER_VERSION,
    STEPS,
    FaceAutoencoders,
    chosen_clips,
    chosen_frames,
)
from dataset.pseudo_fakes.face.families import LEAST_FRAMES, FaceFamily, face_families, forge_face
from dataset.pseudo_fakes.face.post_process import FacePostProcess
from engine.fitting.clip_features import CachedClip
from utils.cache import Runner, compute_missing, entry_key, is_intact_archive
from utils.errors import WorkError
from utils.features.face.crops import CROP_PX, CROPS_VERSION
from utils.features.face.features import PAIR_SHAPE, halved
from utils.features.face.window import clip_faces
from utils.files import atomic_path
from utils.media.errors import MediaError

log = logging.getLogger(__name__)

FACE_EXAMPLES_VERSION = 2
"""Increase it when the same face and seed would give different examples; cached examples are then recomputed."""

SEQUENCE_FRAMES = 24
EXAMPLE_PAIRS = 6
MASK_CELLS = 28
"""Side of the masks, the resolution of the forgery localizers' patch logits."""

NO_PAIRS = np.zeros((0, EXAMPLE_PAIRS, *PAIR_SHAPE), np.uint8)
LONGEST_AUTOENCODER_FIT_S = 3600.0


@dataclass(frozen=True)
class FaceExampleCounts:
    """Number of training examples per face.

    Attributes:
        rounds: number of sequences; each has its own post-processing and gives one real example.
        fakes_per_round: forged examples of each sequence, of different families.
        families: names of the families to draw from; empty for all.
        autoencoder_steps: training steps of the autoencoders; 0 leaves out the family that needs them.
    """

    rounds: int = 2
    fakes_per_round: int = 4
    families: tuple[str, ...] = ()
    autoencoder_steps: int = STEPS


@dataclass(frozen=True)
class FaceExamples:
    """Training examples of one clip.

    Attributes:
        families: (N,) `real` or a family's name.
        rounds: (N,) the round of each example. All examples of a round are made from the same sequence.
        masks: (N, 28, 28) float32 in [0, 1], the forged share of each cell; zeros for real examples.
        pairs: (N, 6, 2, 112, 112, 3) uint8 RGB pairs of consecutive frames.
    """

    families: np.ndarray
    rounds: np.ndarray
    masks: np.ndarray
    pairs: np.ndarray


@dataclass(frozen=True)
class FaceTask:
    """Task of making the examples of one real clip.

    Attributes:
        name: the clip's name; together with `seed` it determines all random choices.
        path: the clip.
        content: `content_key` of the clip.
        max_frames: number of frames to use; `None` for all.
        counts: number of examples.
        autoencoders: file of `FaceAutoencoders`; `None` leaves that family out.
        seed: seed of all random choices.
        folder: folder of the cache.
    """

    name: str
    path: Path
    content: str
    max_frames: int | None
    counts: FaceExampleCounts
    autoencoders: Path | None
    seed: int
    folder: Path

    @property
    def cache_path(self) -> Path:
        """The file of the families, rounds and masks; the pairs are in `pairs_file`."""
        autoencoders = "" if self.autoencoders is None else self.autoencoders.name
        recipe = [self.name, self.max_frames, asdict(self.counts), autoencoders, self.seed]
        return self.folder / f"{entry_key(self.content, *recipe, FACE_EXAMPLES_VERSION, CROPS_VERSION)}.npz"


@dataclass(frozen=True)
class AutoencoderTask:
    """Task of training the autoencoders.

    Attributes:
        clips: cached features of the real clips with the faces to train on.
        seed: seed of the training.
        steps: training steps.
        folder: folder of the cache.
    """

    clips: tuple[CachedClip, ...]
    seed: int
    steps: int
    folder: Path
    name: str = "autoencoders"

    @property
    def cache_path(self) -> Path:
        """The file of the weights."""
        names = [clip.path.name for clip in self.clips]
        return self.folder / f"autoencoders_{entry_key(AUTOENCODER_VERSION, names, self.seed, self.steps)}.pt"


def train_autoencoders(clips: Sequence[CachedClip], folder: Path, run: Runner, *, seed: int, steps: int) -> Path | None:
    """Train autoencoders on the faces of these clips unless they are in the training cache.

    Returns:
        The file of their weights; `None` for 0 steps.

    Raises:
        WorkError: the training failed.
    """
    if steps == 0:
        return None
    task = AutoencoderTask(tuple(chosen_clips(clips)), seed, steps, folder)
    for reason in compute_missing([task], store_autoencoders, run, step="face autoencoders").values():
        raise WorkError(f"the autoencoders could not be trained: {reason}")
    return task.cache_path


def store_autoencoders(task: AutoencoderTask) -> None:
    """Train on a few frames of every clip and store the weights."""
    faces = []
    for clip in task.clips:
        pairs = clip.face_pairs()
        if pairs is not None:
            faces.append(pairs[chosen_frames(len(pairs)), 0])
    FaceAutoencoders.fit(np.concatenate(faces), seed=task.seed, steps=task.steps).save(task.cache_path)


def load_faces(tasks: Sequence[FaceTask], run: Runner) -> list[Path | None]:
    """Make the examples of faces that are not in the training cache.

    Returns:
        One file per task, in order, see `read_examples`; `None` for a clip that cannot be read. The reason is logged.
    """
    failures = compute_missing(tasks, store_examples, run, step="face pseudo-fakes", is_intact=is_intact_pair)
    return [None if task.cache_path in failures else task.cache_path for task in tasks]


def store_examples(task: FaceTask) -> str:
    """Make and store one clip's examples; return the reason code of a failure, or an empty string."""
    try:
        face = clip_faces(task.path, max_frames=task.max_frames)
    except MediaError as error:
        return error.reason
    autoencoder = None if task.autoencoders is None else FaceAutoencoders.load(task.autoencoders)
    crops = np.zeros((0, 0, 0, 3), np.uint8) if face is None else face.crops
    examples = face_examples(crops, clip_generator(task.seed, task.name), face_families(autoencoder), task.counts)
    with atomic_path(pairs_file(task.cache_path)) as temporary, open(temporary, "wb") as file:
        np.save(file, examples.pairs)
    with atomic_path(task.cache_path) as temporary, open(temporary, "wb") as file:
        np.savez(file, families=examples.families, rounds=examples.rounds, masks=examples.masks)
    return ""


def pairs_file(cache_path: Path) -> Path:
    """Return the file with the pairs of cached examples. It is separate because it is memory-mapped."""
    return cache_path.with_suffix(".npy")


def is_intact_pair(cache_path: Path) -> bool:
    """Return whether both files of cached examples exist and are complete."""
    try:
        np.load(pairs_file(cache_path), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return False
    return is_intact_archive(cache_path)


def read_examples(cache_path: Path) -> FaceExamples:
    """Read cached examples; their pairs are memory-mapped."""
    with np.load(cache_path, allow_pickle=False) as stored:
        pairs = np.load(pairs_file(cache_path), mmap_mode="r", allow_pickle=False)
        return FaceExamples(stored["families"], stored["rounds"], stored["masks"], pairs)


def face_examples(
    crops: np.ndarray, rng: np.random.Generator, families: Mapping[str, FaceFamily], counts: FaceExampleCounts
) -> FaceExamples:
    """Make the examples of a real face. A face with fewer than `LEAST_FRAMES` frames gives none.

    Args:
        crops: (T, 224, 224, 3) uint8 RGB.
        rng: source of all random choices.
        families: families to draw from, without replacement until all have been drawn.
        counts: number of examples.
    """
    names, rounds, masks, pairs = [], [], [], []
    deck = rng.permutation(sorted(set(counts.families or families)))
    for number in range(counts.rounds if len(crops) >= LEAST_FRAMES else 0):
        start = int(rng.integers(max(1, len(crops) - SEQUENCE_FRAMES + 1)))
        sequence, processed = crops[start : start + SEQUENCE_FRAMES], FacePostProcess.draw(rng)
        first = number * counts.fakes_per_round
        for family in [REAL, *(str(deck[(first + step) % len(deck)]) for step in range(counts.fakes_per_round))]:
            faces, mask = sequence, np.zeros((CROP_PX, CROP_PX, 1), np.float32)
            if family != REAL:
                forged = forge_face(sequence, rng, family, families=families)
                faces, mask = forged.crops, forged.mask
            names.append(family)
            rounds.append(number)
            masks.append(cell_shares(processed.mask(mask)))
            pairs.append(frame_pairs(processed.crops(faces)))
    if not names:
        no_masks = np.zeros((0, MASK_CELLS, MASK_CELLS), np.float32)
        return FaceExamples(np.zeros(0, "U1"), np.zeros(0, int), no_masks, NO_PAIRS)
    return FaceExamples(np.array(names), np.array(rounds), np.stack(masks), np.stack(pairs))


def cell_shares(mask: np.ndarray) -> np.ndarray:
    """Return the forged share of each cell (28, 28) of a mask (224, 224, 1)."""
    return cv2.resize(mask[..., 0], (MASK_CELLS, MASK_CELLS), interpolation=cv2.INTER_AREA)


def frame_pairs(crops: np.ndarray) -> np.ndarray:
    """Return evenly spaced pairs of consecutive frames (6, 2, 112, 112, 3) of crops (T, 224, 224, 3), T > 1."""
    first = np.linspace(0, len(crops) - 2, EXAMPLE_PAIRS).astype(int)
    return np.stack([np.stack([halved(crops[number]), halved(crops[number + 1])]) for number in first])
