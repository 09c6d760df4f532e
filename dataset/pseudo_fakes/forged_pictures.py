"""The pictures of a clip, as they are or forged, encoded anew in the same way, for a set of pseudo-fakes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from dataset.pseudo_fakes.bank import REAL
from dataset.pseudo_fakes.face import (
    AUTOENCODER,
    FACE_FAKES,
    LEAST_FRAMES,
    TEMPORAL_SPLICE,
    FaceFamily,
    face_families,
    forge_face,
)
from dataset.pseudo_fakes.face_autoencoder import FaceAutoencoders
from dataset.pseudo_fakes.face_motion import splice_order
from dataset.pseudo_fakes.face_post_process import FacePostProcess
from dataset.pseudo_fakes.face_track import TrackedFace, paste_back, track_crops, track_face, upright_frames
from utils.features.face.features import halved
from utils.media.decode import ClipStream
from utils.media.errors import MediaError
from utils.media.writer import write_clip

log = logging.getLogger(__name__)

PICTURE_TYPES = (*FACE_FAKES, AUTOENCODER, TEMPORAL_SPLICE)
UNKNOWN_FPS = 25.0

PART_CHANCE, LEAST_PART_SHARE, LEAST_PART_FRAMES = 0.3, 0.2, 12
"""How often only a part of a face's appearance is forged, and how much of it at least."""

MOST_AUTOENCODER_CLIPS, FRAMES_PER_CLIP = 500, 4


def usable_face(path: Path) -> TrackedFace | None:
    """The face to forge in a clip; `None`, with a line in the log, when there is none that lasts."""
    try:
        track = track_face(path)
    except MediaError as error:
        log.warning("%s is left out: %s", path, error)
        return None
    if track is None or len(track.landmarks) < LEAST_FRAMES:
        log.warning("%s is left out: no face in it", path)
        return None
    return track


def trained_families(faces: Mapping[Path, TrackedFace], seed: int) -> dict[str, FaceFamily]:
    """All families, with autoencoders trained on these clips' faces."""
    paths = list(faces)[:: -(-len(faces) // MOST_AUTOENCODER_CLIPS)]
    crops: list[np.ndarray] = []
    for path in paths:
        own = track_crops(path, faces[path])
        crops += [halved(own[number]) for number in np.linspace(0, len(own) - 1, FRAMES_PER_CLIP).astype(int)]
    log.info("training two small autoencoders on the faces of %d real clips", len(paths))
    return face_families(FaceAutoencoders.fit(np.stack(crops), seed=seed))


class PictureForger:
    """Writes the pictures of clips."""

    def __init__(self, families: Mapping[str, FaceFamily]) -> None:
        """Forge with these families and by splicing."""
        self.families = families

    def write(
        self,
        path: Path,
        track: TrackedFace,
        kind: str,
        processed: FacePostProcess,
        rng: np.random.Generator,
        output: Path,
    ) -> tuple[float, float] | None:
        """Write a clip's pictures without sound.

        Args:
            path: the clip.
            track: its face.
            kind: one of `PICTURE_TYPES`, or `real`.
            processed: what happens to all frames; the same for a clip and its forgeries.
            rng: all chance of the forgery.
            output: the file, MP4.

        Returns:
            When what is forged begins and ends, in seconds; `None` for a real clip.

        Raises:
            MediaError: the clip cannot be read.
        """
        stream = ClipStream(path, audio=False)
        span = None
        frames = upright_frames(stream)
        if kind == TEMPORAL_SPLICE:
            order, span = splice_order(track.n_frames, rng)
            frames = spliced(frames, path, order[span[0] : span[1]], span[0])
        elif kind != REAL:
            crops = track_crops(path, track)
            forged = forge_face(crops, rng, kind, families=self.families, span=drawn_part(len(crops), rng))
            span = (track.first + forged.span[0], track.first + forged.span[1])
            pasted = forged.crops[forged.span[0] : forged.span[1]]
            landmarks = track.landmarks[forged.span[0] : forged.span[1]]
            frames = with_faces(frames, span[0], pasted, forged.mask, landmarks)
        noise = np.random.default_rng(processed.seed)
        changed = (processed.change(frame, noise) for frame in frames)
        first = next(changed, None)
        if first is None:
            raise MediaError("unreadable", f"no frame in {path}")
        fps = stream.facts.fps or UNKNOWN_FPS
        write_clip(output, prepended(first, changed), fps, video_options=processed.encoder_options)
        return None if span is None else (span[0] / fps, span[1] / fps)


def prepended(first: np.ndarray, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """A frame, then others."""
    yield first
    yield from frames


def drawn_part(length: int, rng: np.random.Generator) -> tuple[int, int] | None:
    """First and end frame of a part of (length,) frames; `None`, mostly, for the whole."""
    least = max(LEAST_PART_FRAMES, int(LEAST_PART_SHARE * length))
    if least >= length or rng.random() >= PART_CHANCE:
        return None
    frames = int(rng.integers(least, length))
    start = int(rng.integers(0, length - frames + 1))
    return start, start + frames


def spliced(frames: Iterator[np.ndarray], path: Path, piece: np.ndarray, start: int) -> Iterator[np.ndarray]:
    """Frames with a piece of the same clip, frame numbers (P,) in a row, in the place of those from `start` on."""
    others = enumerate(upright_frames(ClipStream(path, audio=False)))
    inserted = (frame for number, frame in others if number >= piece[0])
    for number, frame in enumerate(frames):
        yield next(inserted, frame) if start <= number < start + len(piece) else frame


def with_faces(
    frames: Iterator[np.ndarray], start: int, crops: np.ndarray, mask: np.ndarray, landmarks: np.ndarray
) -> Iterator[np.ndarray]:
    """Frames with forged crops pasted into those from `start` on, see `paste_back`."""
    for number, frame in enumerate(frames, start=-start):
        inside = 0 <= number < len(crops)
        yield paste_back(frame, crops[number], mask, landmarks[number]) if inside else frame
