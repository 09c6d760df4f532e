"""A clip second by second: tracked faces and the waveform, from which the windows of the time line are composed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.features.clip import ClipFacts, ClipWindow, FacePath
from utils.features.face.features import MAX_MOUTH_FRAMES, PAIRS, FaceFeatures
from utils.features.face.motion import MAX_MOTION_STEPS
from utils.features.waveform import Pcm
from utils.features.windows import TrackedFace, part_of, window_of

if TYPE_CHECKING:
    from utils.features.base import ClipPass
    from utils.features.config import FeatureConfig

TIMELINE_WINDOW_S = 3
"""Duration of a window of the time line in whole seconds. It is the duration of an utterance."""

LONGEST_TIMELINE_S = 600
"""The time line covers this part of a longer clip, which needs 300 MB per face."""

LEAST_SHARE = 0.5
"""A face is scored in a window if it is tracked in at least this share of its seconds."""


@dataclass(frozen=True, eq=False)
class FaceSecond:
    """One second of one tracked face.

    Attributes:
        track: number of the track in the clip, from 0.
        second: number of the second, from 0.
        features: pairs (P, 2, 112, 112, 3), mouth and motion of this second; `start_s` is on the clip's clock.
        path: its detections.
    """

    track: int
    second: int
    features: FaceFeatures
    path: FacePath


@dataclass(frozen=True, eq=False)
class ClipSeconds:
    """A clip second by second.

    Attributes:
        duration_s: duration of the clip.
        faces: seconds of its faces, by track, then by time.
        pcm: its waveform; `None` without audio.
        audio_start_s: time of the first sample on the clip's clock.
        cuts_s: times of its cuts, ascending.
        scored_path: path of the face of a clip that is scored as a whole and has a single face in its middle, else `None`.
    """

    duration_s: float
    faces: Sequence[FaceSecond]
    pcm: Pcm | None
    audio_start_s: float
    cuts_s: Sequence[float] = ()
    scored_path: FacePath | None = None

    def tracks(self) -> dict[int, list[FaceSecond]]:
        """Return the seconds of each track by its number."""
        found: dict[int, list[FaceSecond]] = {}
        for face in self.faces:
            found.setdefault(face.track, []).append(face)
        return found

    def part_of(self, start_s: float, end_s: float) -> Pcm | None:
        """Return the waveform between two times on the clip's clock; `None` if there is none."""
        if self.pcm is None:
            return None
        return part_of(self.pcm, start_s - self.audio_start_s, end_s - self.audio_start_s)


@dataclass(frozen=True, eq=False)
class FacesAndSeconds:
    """Value of the face feature in a pass for the time line.

    Attributes:
        value: the value of any other pass.
        seconds: see `ClipSeconds.faces`.
        cuts_s: see `ClipSeconds`.
        scored_path: see `ClipSeconds`.
    """

    value: Any
    seconds: Sequence[FaceSecond]
    cuts_s: Sequence[float] = ()
    scored_path: FacePath | None = None


def split_seconds(values: dict[str, Any], clip: ClipPass) -> ClipSeconds:
    """Return the clip second by second. The value of the face feature becomes that of a pass without time line."""
    face = values.get("face")
    found = face if isinstance(face, FacesAndSeconds) else FacesAndSeconds(face, ())
    if face is not None:
        values["face"] = found.value
    return ClipSeconds(
        clip.facts.duration_s,
        found.seconds,
        values.get("waveform"),
        clip.facts.audio_start_s or 0.0,
        found.cuts_s,
        found.scored_path,
    )


def timeline_starts(duration_s: float) -> np.ndarray:
    """Return the starts (N,) of the windows of the time line in whole seconds, one per second, at least one."""
    last = int(np.ceil(min(duration_s, LONGEST_TIMELINE_S) - 1e-6)) - TIMELINE_WINDOW_S
    return np.arange(max(0, last) + 1)


def timeline_windows(
    clip: ClipSeconds, config: FeatureConfig, plan_names: Collection[str], names: Collection[str], facts: ClipFacts
) -> Iterator[ClipWindow]:
    """Yield the windows of the time line with their features, once per face.

    Args:
        clip: the clip.
        config: settings of the features.
        plan_names: the requested features and their sources, sources first.
        names: the requested features.
        facts: facts of the clip.
    """
    plan = config.build(plan_names)
    tracks = clip.tracks()
    for start in timeline_starts(clip.duration_s).tolist():
        end_s = min(float(start + TIMELINE_WINDOW_S), max(clip.duration_s, 1e-3))
        shift_s = max(0.0, start - clip.audio_start_s)
        faces = []
        for seconds in tracks.values():
            own = [one for one in seconds if start <= one.second < start + TIMELINE_WINDOW_S]
            if len(own) >= LEAST_SHARE * (end_s - start):
                faces.append(joined(own, shift_s + clip.audio_start_s))
        yield window_of(faces, clip.part_of(start, end_s), (float(start), end_s), (plan, names, facts))


def joined(seconds: Sequence[FaceSecond], shift_s: float) -> TrackedFace:
    """Return consecutive seconds of a face as one face.

    Args:
        seconds: the seconds, at least one.
        shift_s: time on the clip's clock that becomes 0.
    """
    pairs = np.concatenate([one.features.pairs for one in seconds])
    chosen = np.round(np.linspace(0, len(pairs) - 1, PAIRS)).astype(int)
    face = FaceFeatures(
        pairs=pairs[chosen],
        mouth=np.concatenate([one.features.mouth for one in seconds])[:MAX_MOUTH_FRAMES],
        start_s=seconds[0].features.start_s - shift_s,
        motion=np.concatenate([one.features.motion for one in seconds])[:MAX_MOTION_STEPS],
    )
    times_s = np.concatenate([one.path.times_s for one in seconds])
    return TrackedFace(face, FacePath(times_s, np.concatenate([one.path.boxes for one in seconds])))
