"""What the face expert is trained on, kept on disk clip by clip so that an interrupted training goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dataset.clip_bank import KeptClip
from dataset.pseudo_fakes.face import face_families
from dataset.pseudo_fakes.face_autoencoder import FaceAutoencoders, kept_autoencoders
from dataset.pseudo_fakes.face_rows import FACE_ROWS_VERSION, FaceBankConfig, FaceRows, face_rows
from dataset.workers import run_in_workers
from utils.errors import WorkError
from utils.features.config import FACE_VERSION
from utils.features.face import clip_faces
from utils.files import atomic_path, is_whole_archive
from utils.media.errors import MediaError

log = logging.getLogger(__name__)

MOST_AUTOENCODER_CLIPS, FRAMES_PER_CLIP = 500, 4
LONGEST_AUTOENCODER_FIT_S = 3600.0


@dataclass(frozen=True)
class FaceTask:
    """One real clip to make pseudo-fakes of.

    Attributes:
        name: what the caller calls it; with the seed it decides what the random changes are.
        path: where it lies.
        max_frames: frames from there on do not count.
        bank: how many rows.
        autoencoders: file of `FaceAutoencoders`, or `None` to go without that family.
        seed: of all chance.
        folder: where its rows are kept.
    """

    name: str
    path: Path
    max_frames: int | None
    bank: FaceBankConfig
    autoencoders: Path | None
    seed: int
    folder: Path

    @property
    def kept(self) -> Path:
        """The file of its rows' names and masks; their pairs lie beside it. Other files whenever the rows would differ."""
        size = self.path.stat().st_size if self.path.is_file() else 0
        trained = "" if self.autoencoders is None else self.autoencoders.name
        recipe = [self.name, size, self.max_frames, asdict(self.bank), trained, self.seed]
        text = json.dumps([*recipe, FACE_ROWS_VERSION, FACE_VERSION], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"


@dataclass(frozen=True)
class AutoencoderTask:
    """Autoencoders to train.

    Attributes:
        clips: descriptions of the real clips whose faces are trained on.
        seed: of the training.
        steps: of the training.
        kept: where the weights go.
    """

    clips: tuple[KeptClip, ...]
    seed: int
    steps: int
    kept: Path


def train_autoencoders(clips: Sequence[KeptClip], folder: Path, *, seed: int, steps: int) -> Path | None:
    """The file of autoencoders trained on the faces of these clips, in a worker process unless it is there already.

    Returns:
        The file; `None` without steps.

    Raises:
        WorkError: the training failed.
    """
    if steps == 0:
        return None
    every = -(-len(clips) // MOST_AUTOENCODER_CLIPS)
    chosen = tuple(clips[::every])
    kept = kept_autoencoders(folder, [clip.path.name for clip in chosen], seed, steps)
    if not is_whole_archive(kept):
        folder.mkdir(parents=True, exist_ok=True)
        log.info("training two small autoencoders on the faces of %d real clips", len(chosen))
        task = AutoencoderTask(chosen, seed, steps, kept)
        for _, _, reason in run_in_workers(fit_autoencoders, [task], workers=1, timeout_s=LONGEST_AUTOENCODER_FIT_S):
            if reason:
                raise WorkError(f"the autoencoders could not be trained: {reason}")
    return kept


def fit_autoencoders(task: AutoencoderTask) -> None:
    """Train on a few frames of every clip and keep the weights."""
    faces = []
    for clip in task.clips:
        pairs = clip.face_pairs()
        if pairs is not None:
            faces.append(pairs[np.linspace(0, len(pairs) - 1, FRAMES_PER_CLIP).astype(int), 0])
    FaceAutoencoders.fit(np.concatenate(faces), seed=task.seed, steps=task.steps).save(task.kept)


def load_faces(tasks: Sequence[FaceTask], *, workers: int, timeout_s: float) -> list[Path | None]:
    """The rows of each clip in order, see `read_rows`; made in worker processes unless they are kept already.

    Returns:
        One file per task; `None` for a clip that cannot be read: the log says why.
    """
    missing = [task for task in tasks if not whole_rows(task.kept)]
    for folder in {task.folder for task in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    made = run_in_workers(make_rows, missing, workers=workers, timeout_s=timeout_s) if missing else ()
    for number, (task, failure, reason) in enumerate(made, start=1):
        log.info("pseudo-fakes of %d of %d faces", number, len(missing))
        if reason or failure:
            log.warning("%s is left out: %s", task.name, reason or failure)
    return [task.kept if whole_rows(task.kept) else None for task in tasks]


def make_rows(task: FaceTask) -> str:
    """Make one clip's rows and keep them; returns the reason code of a failure, or nothing."""
    try:
        face = clip_faces(task.path, max_frames=task.max_frames)
    except MediaError as error:
        return error.reason
    digest = hashlib.sha256(task.name.encode()).digest()
    rng = np.random.default_rng((task.seed, int.from_bytes(digest[:8], "big")))
    autoencoder = None if task.autoencoders is None else FaceAutoencoders.load(task.autoencoders)
    crops = np.zeros((0, 0, 0, 3), np.uint8) if face is None else face.crops
    rows = face_rows(crops, rng, face_families(autoencoder), task.bank)
    with atomic_path(pairs_beside(task.kept)) as temporary, open(temporary, "wb") as file:
        np.save(file, rows.pairs)
    with atomic_path(task.kept) as temporary, open(temporary, "wb") as file:
        np.savez(file, families=rows.families, turns=rows.turns, masks=rows.masks)
    return ""


def pairs_beside(kept: Path) -> Path:
    """The file of the pairs that belong to kept rows."""
    return kept.with_suffix(".npy")


def whole_rows(kept: Path) -> bool:
    """Whether both files of kept rows are there, and neither was cut short."""
    try:
        np.load(pairs_beside(kept), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return False
    return is_whole_archive(kept)


def read_rows(kept: Path) -> FaceRows:
    """Kept rows; their pairs stay on disk until they are looked at."""
    with np.load(kept, allow_pickle=False) as rows:
        pairs = np.load(pairs_beside(kept), mmap_mode="r", allow_pickle=False)
        return FaceRows(rows["families"], rows["turns"], rows["masks"], pairs)
