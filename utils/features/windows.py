"""Sliding windows over a long clip. Each has the features of a clip of its own, computed in the same decoding pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.features.base import with_sources
from utils.features.clip import ClipFacts, ClipFeatures, ClipWindow, FacePath
from utils.features.waveform import Pcm
from utils.media.errors import join_reasons

if TYPE_CHECKING:
    from utils.features.base import ClipPass, Feature
    from utils.features.face.features import FaceFeatures
    from utils.media.decode import StreamFacts

SINGLE_S = 12.0
"""Clips up to this length are scored as a whole, longer ones in windows."""

CLIP_WINDOW_S = 10.0
CLIP_HOP_S = 5.0
MAX_CLIP_WINDOWS = 120
"""Limit of time and memory. Windows of a clip longer than 10 minutes are spaced more than `CLIP_HOP_S` apart."""

ASSUMED_FPS = 25.0
"""Frame rate assumed for files without timestamps and frame rate."""


@dataclass(frozen=True)
class TrackedFace:
    """The features of one face with its path."""

    features: FaceFeatures
    path: FacePath


@dataclass(frozen=True)
class WindowedFaces:
    """The faces of the windows of a clip.

    Attributes:
        starts: (W,) start of each window in seconds on the clip's clock; empty for a clip that is one window.
        faces: the faces of each window, the most prominent one first.
    """

    starts: np.ndarray
    faces: Sequence[Sequence[TrackedFace]]


def window_starts(duration_s: float) -> np.ndarray:
    """Return the starts of the windows of a clip (W,) in seconds, evenly spaced from 0 to `CLIP_WINDOW_S` before its end.

    W = 0 for a clip that is scored as a whole.
    """
    if duration_s <= SINGLE_S:
        return np.zeros(0)
    spare_s = duration_s - CLIP_WINDOW_S
    count = min(MAX_CLIP_WINDOWS, int(np.ceil(spare_s / CLIP_HOP_S - 1e-6)) + 1)
    return np.linspace(0.0, spare_s, count)


def planned_duration_s(clip: ClipPass) -> float:
    """Return the duration of a clip as far as it is known before the pass: the declared one, unless a pass measured it."""
    if clip.duration_s is not None:
        return clip.duration_s
    facts = clip.facts
    fps = facts.fps or ASSUMED_FPS
    declared_s = max(facts.declared_s, facts.declared_frames / fps)
    return declared_s if clip.max_frames is None else min(declared_s, clip.max_frames / fps)


def frame_time_s(facts: StreamFacts) -> float:
    """Return the presentation time of the latest frame of a pass, by the frame rate if the file states none."""
    return (facts.n_frames - 1) / (facts.fps or ASSUMED_FPS) if facts.frame_s is None else float(facts.frame_s)


def misses_windows(clip: ClipPass) -> bool:
    """Return whether the windows of a finished pass differ from those of the clip's actual duration."""
    return clip.facts.n_frames > 0 and len(window_starts(planned_duration_s(clip))) != len(
        window_starts(clip.facts.duration_s)
    )


def cut_windows(
    values: Mapping[str, Any], plan: Sequence[Feature], names: Collection[str], facts: ClipFacts, audio_start_s: float
) -> tuple[ClipWindow, ...]:
    """Return the windows of a clip with their features; none for a clip that is scored as a whole.

    Args:
        values: the streamed features of the whole clip by name; `face` is of type `WindowedFaces` for a long clip.
        plan: the requested features and their sources, sources first.
        names: the requested features.
        facts: facts of the clip.
        audio_start_s: time of the first sample of the waveform on the clip's clock.
    """
    face = values.get("face")
    pcm: Pcm | None = values.get("waveform")
    windowed = face if isinstance(face, WindowedFaces) else None
    starts = window_starts(facts.duration_s) if windowed is None else windowed.starts
    if windowed is not None and not len(starts):
        return (window_of(windowed.faces[0], pcm, (0.0, facts.duration_s), (plan, names, facts)),)
    windows = []
    for number, start_s in enumerate(starts.tolist()):
        shift_s = max(0.0, start_s - audio_start_s)
        faces = (
            []
            if windowed is None
            else [
                TrackedFace(replace(one.features, start_s=one.features.start_s - shift_s), one.path)
                for one in windowed.faces[number]
            ]
        )
        span = (start_s, start_s + CLIP_WINDOW_S)
        part = None if pcm is None else part_of(pcm, span[0] - audio_start_s, span[1] - audio_start_s)
        windows.append(window_of(faces, part, span, (plan, names, replace(facts, window=number))))
    return tuple(windows)


def window_of(
    faces: Sequence[TrackedFace],
    pcm: Pcm | None,
    span: tuple[float, float],
    context: tuple[Sequence[Feature], Collection[str], ClipFacts],
) -> ClipWindow:
    """Return a window with its features, once per face.

    Args:
        faces: its faces.
        pcm: its waveform; `None` without audio.
        span: its start and end in seconds.
        context: the plan, the names of the requested features, and the facts of the window.
    """
    plan, names, facts = context
    if pcm is not None and not pcm.samples.any():
        facts = replace(facts, reason=join_reasons({*facts.reasons, "silent"}))
    shared: dict[str, Any] = {"waveform": pcm}
    derive_all([feature for feature in plan if not uses_face(feature)], shared)
    found = []
    values: list[FaceFeatures | None] = [one.features for one in faces]
    for face in values or [None]:
        own = {**shared, "face": face}
        derive_all([feature for feature in plan if uses_face(feature)], own)
        found.append(ClipFeatures(facts, {name: own[name] for name in names}))
    return ClipWindow(*span, tuple(found), tuple(one.path for one in faces))


def uses_face(feature: Feature) -> bool:
    """Return whether a feature is computed from the face."""
    return "face" in with_sources([feature.name])


def part_of(pcm: Pcm, start_s: float, end_s: float) -> Pcm | None:
    """Return the samples between two times on the clock of the waveform; `None` if there are none."""
    first, last = (max(0, round(time_s * pcm.rate_hz)) for time_s in (start_s, end_s))
    samples = pcm.samples[first:last]
    return Pcm(samples, pcm.rate_hz) if len(samples) else None


def derive_all(plan: Sequence[Feature], values: dict[str, Any], cache_dir: Path | None = None) -> None:
    """Add the derived features of a plan to the values of their sources. Without a source, the value is `None`.

    Args:
        plan: the features, sources first.
        values: feature name -> value; receives the derived features.
        cache_dir: see `Feature.derive`.
    """
    for feature in plan:
        if feature.is_derived:
            sources = {source: values[source] for source in feature.fed}
            known = all(value is not None for value in sources.values())
            values[feature.name] = feature.derive(sources, cache_dir) if known else None
