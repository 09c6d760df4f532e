"""Tasks on single clips for a set of pseudo-fakes, run in worker processes: read an original, and write its copies."""

from __future__ import annotations

import errno
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from dataset.degradations.families import MATROSKA
from dataset.degradations.streams import ContainerRefusedError, Track, multiplex, start_s
from dataset.pseudo_fakes.common import REAL, name_seed
from dataset.pseudo_fakes.face.autoencoder import AUTOENCODER_VERSION, FaceAutoencoders, chosen_frames
from dataset.pseudo_fakes.face.families import LEAST_FRAMES, face_families
from dataset.pseudo_fakes.face.post_process import FacePostProcess
from dataset.pseudo_fakes.face.track import TrackedFace, track_crops, track_face
from dataset.pseudo_fakes.face.video import FACE_TYPES, FaceClip, write_video
from dataset.pseudo_fakes.voice.post_process import post_process
from dataset.pseudo_fakes.voice.soundtrack import AUDIO_TYPES, forge_audio, is_usable, write_audio
from utils.cache import entry_key
from utils.features.config import FeatureConfig
from utils.features.extract import clip_voice
from utils.features.face.features import halved
from utils.files import atomic_path
from utils.media.errors import MediaError

Modality = Literal["audio", "video", "both"]

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
"""Errors that would also occur for every other clip of the set."""

LabelRow = tuple[str, int, str, float | str, float | str, str]
"""`video_name, target, type, start_s, end_s, group`."""


@dataclass(frozen=True)
class OriginalTask:
    """Task of reading an original clip.

    Attributes:
        path: the clip.
        content: `content_key` of the clip.
        modality: the part to forge, which determines the parts to read.
        folder: folder for the result.
    """

    path: Path
    content: str
    modality: Modality
    folder: Path

    @property
    def name(self) -> str:
        """The name in log lines."""
        return str(self.path)

    @property
    def cache_path(self) -> Path:
        """The file of the result, see `Original`."""
        return self.folder / f"{entry_key(self.content, self.path.name, self.modality)}.npz"


@dataclass(frozen=True)
class Original:
    """The parts of a clip that its copies need.

    Attributes:
        waveform: (S,) float32 at 16 kHz; S = 0 if only faces are forged.
        track: the face; `None` if only audio is forged.
        faces: (4, 112, 112, 3) uint8, frames to train autoencoders on; empty without a track.
    """

    waveform: np.ndarray
    track: TrackedFace | None
    faces: np.ndarray


@dataclass(frozen=True)
class TrainingTask:
    """Task of training the autoencoders.

    Attributes:
        originals: files of the originals with the faces.
        seed: seed of the training.
        steps: training steps.
        folder: folder for the result.
    """

    originals: tuple[Path, ...]
    seed: int
    steps: int
    folder: Path
    name: str = "autoencoders"

    @property
    def cache_path(self) -> Path:
        """The file of the weights."""
        names = [path.name for path in self.originals]
        return self.folder / f"{entry_key(AUTOENCODER_VERSION, names, self.seed, self.steps)}.pt"


@dataclass(frozen=True)
class CopyTask:
    """Task of writing the copies of one clip.

    Attributes:
        number: index of the clip in the set; together with `seed` it determines the random choices.
        path: the clip.
        kinds: `real` or the type of forgery of each copy.
        group: name of the group, the prefix of the copies' names.
        original: file of the `Original`.
        other: file of the original whose audio is used for swaps and splices.
        autoencoders: file of `FaceAutoencoders`; `None` if only audio is forged.
        seed: seed of the set.
        folder: folder for the copies.
    """

    number: int
    path: Path
    kinds: tuple[str, ...]
    group: str
    original: Path
    other: Path
    autoencoders: Path | None
    seed: int
    folder: Path


@dataclass(frozen=True)
class WrittenCopies:
    """Result of a `CopyTask`.

    Attributes:
        rows: label rows of the copies that were written.
        failure: the reason why other copies are missing; empty if all were written.
        fatal: whether the failure would occur for every clip: the disk is full, or the folder is not writable.
    """

    rows: list[LabelRow]
    failure: str = ""
    fatal: bool = False


def store_original(task: OriginalTask) -> str:
    """Read an original and store the parts that its copies need; return why it is unusable, or an empty string."""
    waveform, track, faces = np.zeros(0, np.float32), None, np.zeros((0, 0, 0, 3), np.uint8)
    try:
        if task.modality != "video":
            waveform = clip_voice(task.path, FeatureConfig(), trim=False)
            if not is_usable(waveform):
                return "less than a second of audio"
        if task.modality != "audio":
            track = track_face(task.path)
            if track is None or len(track.landmarks) < LEAST_FRAMES:
                return "no face"
            crops = track_crops(task.path, track)
            faces = np.stack([halved(crops[number]) for number in chosen_frames(len(crops))])
    except MediaError as error:
        return str(error)
    first, n_frames, landmarks = (0, 0, np.zeros((0, 5, 2))) if track is None else track_fields(track)
    with atomic_path(task.cache_path) as temporary, open(temporary, "wb") as file:
        np.savez(file, waveform=waveform, faces=faces, first=first, n_frames=n_frames, landmarks=landmarks)
    return ""


def track_fields(track: TrackedFace) -> tuple[int, int, np.ndarray]:
    """Return the fields of a track in storage order."""
    return track.first, track.n_frames, track.landmarks


def read_original(path: Path) -> Original:
    """Read a file written by `store_original`."""
    with np.load(path, allow_pickle=False) as stored:
        landmarks = stored["landmarks"]
        track = TrackedFace(int(stored["first"]), landmarks, int(stored["n_frames"])) if len(landmarks) else None
        return Original(stored["waveform"], track, stored["faces"])


def store_autoencoders(task: TrainingTask) -> None:
    """Train autoencoders on the originals' faces and store their weights."""
    faces = np.concatenate([read_original(path).faces for path in task.originals])
    FaceAutoencoders.fit(faces, seed=task.seed, steps=task.steps).save(task.cache_path)


@lru_cache(maxsize=1)
def load_autoencoders(path: Path) -> FaceAutoencoders:
    """Load autoencoders once per process."""
    return FaceAutoencoders.load(path)


def write_copies(task: CopyTask) -> WrittenCopies:
    """Write the copies of one clip as separate Matroska files. The first failure ends the task."""
    rows: list[LabelRow] = []
    original = read_original(task.original)
    for kind in task.kinds:
        name = f"{task.group}__{kind}{MATROSKA.suffix}"
        try:
            span_s = write_copy(task, original, kind, task.folder / name)
        except (MediaError, ContainerRefusedError) as error:
            return WrittenCopies(rows, str(error))
        except OSError as error:
            return WrittenCopies(rows, str(error), fatal=error.errno in NO_SPACE)
        start, end = ("", "") if span_s is None else tuple(round(time_s, 3) for time_s in span_s)
        rows.append((name, int(kind != REAL), "" if kind == REAL else kind, start, end, task.group))
    return WrittenCopies(rows)


def write_copy(task: CopyTask, original: Original, kind: str, output: Path) -> tuple[float, float] | None:
    """Write one copy of a clip; return start and end of the forged part in seconds, or `None` for a real copy."""
    rng = np.random.default_rng((task.seed, task.number, name_seed(f"{task.path.name} {kind}")))
    span_s = None
    tracks = [Track(task.path, "video"), Track(task.path, "audio")]
    with tempfile.TemporaryDirectory() as scratch, atomic_path(output) as temporary:
        if len(original.waveform):
            other = read_original(task.other).waveform
            forged = forge_audio(kind if kind in AUDIO_TYPES else REAL, original.waveform, other, rng)
            span_s = forged.span_s
            tracks[1] = Track(Path(scratch) / "audio.mka", "audio")
            write_audio(tracks[1].path, post_process(forged.waveform, rng))
        if original.track is not None and task.autoencoders is not None:
            # All copies of a clip share the same post-processing, so that they differ only in the forgery.
            processed = FacePostProcess.draw(np.random.default_rng((task.seed, task.number)))
            tracks[0] = Track(Path(scratch) / "video.mp4", "video", start_s(task.path, "video"))
            clip = FaceClip(task.path, original.track, processed)
            families = face_families(load_autoencoders(task.autoencoders))
            shown = kind if kind in FACE_TYPES else REAL
            span_s = write_video(clip, shown, families, rng, tracks[0].path) or span_s
        multiplex(temporary, tracks, MATROSKA)
    return span_s
