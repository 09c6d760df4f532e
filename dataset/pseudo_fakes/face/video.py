"""Video tracks for a set of pseudo-fakes: genuine or forged frames, encoded in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from dataset.pseudo_fakes.common import REAL
from dataset.pseudo_fakes.face.families import AUTOENCODER, FACE_FAKES, TEMPORAL_SPLICE, FaceFamily, forge_face
from dataset.pseudo_fakes.face.motion import splice_order
from dataset.pseudo_fakes.face.post_process import FacePostProcess
from dataset.pseudo_fakes.face.track import TrackedFace, paste_back, track_crops, upright_frames
from utils.media.decode import ClipStream
from utils.media.errors import MediaError
from utils.media.writer import write_clip

FACE_TYPES = (*FACE_FAKES, AUTOENCODER, TEMPORAL_SPLICE)
UNKNOWN_FPS = 25.0

PART_PROBABILITY, LEAST_PART_SHARE, LEAST_PART_FRAMES = 0.3, 0.2, 12
"""Probability that only a part of a face's frames is forged, and the minimum length of that part."""


@dataclass(frozen=True)
class FaceClip:
    """A clip whose face can be forged.

    Attributes:
        path: the clip.
        track: its face.
        processed: post-processing of all frames, shared by the clip and its forgeries.
    """

    path: Path
    track: TrackedFace
    processed: FacePostProcess


def write_video(
    clip: FaceClip, kind: str, families: Mapping[str, FaceFamily], rng: np.random.Generator, output: Path
) -> tuple[float, float] | None:
    """Write a clip's frames, genuine or forged, without audio.

    Args:
        clip: the clip.
        kind: one of `FACE_TYPES`, or `real`.
        families: see `face_families`.
        rng: source of all random choices of the forgery.
        output: MP4 file to write.

    Returns:
        Start and end of the forged part in seconds; `None` for a real clip.

    Raises:
        MediaError: the clip cannot be read.
    """
    stream = ClipStream(clip.path, audio=False)
    frames, span = forged_frames(clip, kind, families, rng, upright_frames(stream))
    noise = np.random.default_rng(clip.processed.seed)
    changed = (clip.processed.change(frame, noise) for frame in frames)
    first = next(changed, None)
    if first is None:
        raise MediaError("unreadable", f"no frame in {clip.path}")
    fps = stream.facts.fps or UNKNOWN_FPS
    write_clip(output, chain([first], changed), fps, video_options=clip.processed.encoder_options)
    return None if span is None else (span[0] / fps, span[1] / fps)


def forged_frames(
    clip: FaceClip,
    kind: str,
    families: Mapping[str, FaceFamily],
    rng: np.random.Generator,
    frames: Iterator[np.ndarray],
) -> tuple[Iterator[np.ndarray], tuple[int, int] | None]:
    """Forge a part of a clip's frames; return the frames, the first forged frame and the frame after the last."""
    if kind == REAL:
        return frames, None
    track = clip.track
    if kind == TEMPORAL_SPLICE:
        order, span = splice_order(track.n_frames, rng)
        return spliced(frames, clip.path, order[span[0] : span[1]], span[0]), span
    crops = track_crops(clip.path, track)
    forged = forge_face(crops, rng, kind, families=families, span=random_part(len(crops), rng))
    first, end = forged.span
    span = (track.first + first, track.first + end)
    return with_faces(frames, span[0], forged.crops[first:end], forged.mask, track.landmarks[first:end]), span


def random_part(length: int, rng: np.random.Generator) -> tuple[int, int] | None:
    """Draw the range [start, end) of frames to forge out of `length`. Usually return `None`: forge all."""
    least = max(LEAST_PART_FRAMES, int(LEAST_PART_SHARE * length))
    if least >= length or rng.random() >= PART_PROBABILITY:
        return None
    frames = int(rng.integers(least, length))
    start = int(rng.integers(0, length - frames + 1))
    return start, start + frames


def spliced(frames: Iterator[np.ndarray], path: Path, part: np.ndarray, start: int) -> Iterator[np.ndarray]:
    """Yield frames; from `start` on, they are replaced by the frames of the same clip with the indices `part` (P,)."""
    others = enumerate(upright_frames(ClipStream(path, audio=False)))
    inserted = (frame for number, frame in others if number >= part[0])
    for number, frame in enumerate(frames):
        yield next(inserted, frame) if start <= number < start + len(part) else frame


def with_faces(
    frames: Iterator[np.ndarray], start: int, crops: np.ndarray, mask: np.ndarray, landmarks: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield frames; from `start` on, forged crops are pasted into them, see `paste_back`."""
    for number, frame in enumerate(frames, start=-start):
        inside = 0 <= number < len(crops)
        yield paste_back(frame, crops[number], mask, landmarks[number]) if inside else frame
