"""A labelled set from real clips alone: each as it is and forged, in sound or pictures, post-processed alike."""

from __future__ import annotations

import hashlib
import itertools
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from dataset.degradations.families import MATROSKA
from dataset.degradations.streams import ContainerRefusedError, Track, multiplex, start_s
from dataset.pseudo_fakes.bank import REAL
from dataset.pseudo_fakes.face_post_process import FacePostProcess
from dataset.pseudo_fakes.face_track import TrackedFace
from dataset.pseudo_fakes.forged_pictures import PICTURE_TYPES, PictureForger, trained_families, usable_face
from dataset.pseudo_fakes.forged_sound import SOUND_TYPES, forge_sound, usable_voice, write_sound
from dataset.pseudo_fakes.post_process import post_process
from utils.errors import WorkError
from utils.files import atomic_path, write_text_atomic
from utils.media.errors import MediaError

log = logging.getLogger(__name__)

CLIPS, LABELS = "trainset", "trainset_label.txt"
MOST_STEM_BYTES = 120
COLUMNS = ("video_name", "target", "type", "start_s", "end_s", "group")

Modality = Literal["audio", "video", "both"]
NEEDS = {"audio": "a second of sound", "video": "a face", "both": "a second of sound and a face"}


@dataclass(frozen=True)
class Originals:
    """The real clips that a set is made of.

    Attributes:
        paths: those that can be used, in order.
        voices: their sound (S,) at 16 kHz; empty where only pictures are forged.
        faces: their faces; empty where only sound is forged.
        seed: of all chance.
    """

    paths: list[Path]
    voices: Mapping[Path, np.ndarray]
    faces: Mapping[Path, TrackedFace]
    seed: int

    @property
    def forger(self) -> PictureForger | None:
        """What forges the pictures, its autoencoders trained on these faces; `None` where they stay."""
        return PictureForger(trained_families(self.faces, self.seed)) if self.faces else None


def shortened(stem: str) -> str:
    """A stem that leaves room for what is added to it, since file systems take names of 255 bytes."""
    return stem.encode("utf-8", errors="replace")[:MOST_STEM_BYTES].decode("utf-8", errors="ignore")


def build_pseudo_fakes(
    paths: list[Path], output: Path, *, seed: int = 0, fakes_per_clip: int = 1, modality: Modality = "audio"
) -> pd.DataFrame:
    """Write the set; the types take turns over the clips. What no type of the set forges is copied packet by packet.

    Args:
        paths: real clips; one without what is to be forged, or that cannot be read, is left out with a line in the log.
        output: a data root to be: gets `trainset/` and `trainset_label.txt`.
        seed: same clips and seed, same forgeries.
        fakes_per_clip: forged copies of each clip.
        modality: forge the sound, the face, or in turn one of both; with `both` every copy, the real one too, has its sound
            processed and its pictures encoded anew.

    Returns:
        The label table: `video_name,target,type,start_s,end_s,group`, the group being the original.

    Raises:
        WorkError: fewer than two clips can be used.
    """
    originals = usable_originals(paths, modality, seed)
    if len(originals.paths) < 2:
        usable = f"{len(originals.paths)} of {len(paths)} clips have {NEEDS[modality]}"
        raise WorkError(f"{usable}; two are needed to make fakes of")
    forger, types = originals.forger, types_of(modality)
    rows = []
    for number, path in enumerate(originals.paths):
        group = f"{number:05d}_{shortened(path.stem)}"
        turn = number * fakes_per_clip
        for kind in [REAL, *(types[(turn + step) % len(types)] for step in range(fakes_per_clip))]:
            name = f"{group}__{kind}{MATROSKA.suffix}"
            try:
                span_s = write_copy(originals, number, kind, forger, output / CLIPS / name)
            except (MediaError, ContainerRefusedError) as error:
                log.warning("%s is left out: %s", path, error)
                break
            span = ("", "") if span_s is None else tuple(round(time_s, 3) for time_s in span_s)
            rows.append((name, int(kind != REAL), "" if kind == REAL else kind, *span, group))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_text_atomic(output / LABELS, table.to_csv(index=False))
    return table


def usable_originals(paths: list[Path], modality: Modality, seed: int) -> Originals:
    """The clips that have what is to be forged."""
    usable, voices, faces = [], {}, {}
    for path in paths:
        if modality != "video":
            voice = usable_voice(path)
            if voice is None:
                continue
            voices[path] = voice
        if modality != "audio":
            face = usable_face(path)
            if face is None:
                voices.pop(path, None)
                continue
            faces[path] = face
        usable.append(path)
    return Originals(usable, voices, faces, seed)


def types_of(modality: Modality) -> tuple[str, ...]:
    """The types in the order in which they take turns."""
    if modality == "audio":
        return SOUND_TYPES
    if modality == "video":
        return PICTURE_TYPES
    both = itertools.zip_longest(SOUND_TYPES, PICTURE_TYPES)
    return tuple(kind for pair in both for kind in pair if kind is not None)


def write_copy(
    originals: Originals, number: int, kind: str, forger: PictureForger | None, output: Path
) -> tuple[float, float] | None:
    """Write one copy of a clip; returns when what is forged begins and ends, in seconds."""
    path = originals.paths[number]
    digest = hashlib.sha256(f"{path.name} {kind}".encode()).digest()
    rng = np.random.default_rng((originals.seed, number, int.from_bytes(digest[:8], "big")))
    span_s = None
    tracks = [Track(path, "video"), Track(path, "audio")]
    with tempfile.TemporaryDirectory() as scratch, atomic_path(output) as temporary:
        if originals.voices:
            other = originals.voices[originals.paths[(number + 1) % len(originals.paths)]]
            forged = forge_sound(kind if kind in SOUND_TYPES else REAL, originals.voices[path], other, rng)
            span_s = forged.span_s
            tracks[1] = Track(Path(scratch) / "sound.mka", "audio")
            write_sound(tracks[1].path, post_process(forged.waveform, rng))
        if forger is not None:
            # One draw for a clip and its forgeries: nothing but the forgery tells them apart.
            processed = FacePostProcess.draw(np.random.default_rng((originals.seed, number)))
            tracks[0] = Track(Path(scratch) / "pictures.mp4", "video", start_s(path, "video"))
            shown = kind if kind in PICTURE_TYPES else REAL
            span_s = forger.write(path, originals.faces[path], shown, processed, rng, tracks[0].path) or span_s
        multiplex(temporary, tracks, MATROSKA)
    return span_s
