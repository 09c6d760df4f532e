"""Facts and features of one clip, exchanged between the extractor, the feature store and the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from utils.features.seconds import ClipSeconds


@dataclass(frozen=True)
class ClipFacts:
    """Facts about a clip, without its features: one row of `extraction.csv` without the name.

    Attributes:
        status: `ok`, `partial` (a modality is missing or cut), `failed` or `pending`.
        reason: reason codes joined with `+`; empty if the status is `ok`.
        duration_s: duration of the longer stream; 0 if unknown.
        n_frames: number of decoded frames.
        fps: average frame rate; 0 without video.
        has_audio: whether any audio sample was decoded.
        window: number of the window of a long clip, from 0.
    """

    status: str
    reason: str = ""
    duration_s: float = 0.0
    n_frames: int = 0
    fps: float = 0.0
    has_audio: bool = False
    window: int = 0

    @property
    def reasons(self) -> frozenset[str]:
        """The reason codes as a set."""
        return frozenset(code for code in self.reason.split("+") if code)


@dataclass(frozen=True)
class ClipFeatures:
    """Facts and feature values of a clip.

    Attributes:
        facts: facts from the decoder.
        values: feature name -> value of each requested feature; `None` if the clip has none. Empty for a failed clip.
        windows: windows of a clip that was extracted for scoring, if it is long or has several faces. `values` is then empty.
        seconds: the clip second by second, if the time line was requested.
    """

    facts: ClipFacts
    values: Mapping[str, Any] = field(default_factory=dict)
    windows: tuple[ClipWindow, ...] = ()
    seconds: ClipSeconds | None = None


@dataclass(frozen=True)
class ClipWindow:
    """A part of a clip that is scored like a clip.

    Attributes:
        start_s: start in seconds on the clip's clock.
        end_s: end in seconds.
        faces: the features once per face, the most prominent one first; one entry for a window without a face.
        paths: the path of each of these faces; empty for a window without a face.
    """

    start_s: float
    end_s: float
    faces: tuple[ClipFeatures, ...]
    paths: tuple[FacePath, ...] = ()

    def without_features(self) -> ClipWindow:
        """Return the window with the facts of its faces only."""
        return replace(self, faces=tuple(ClipFeatures(face.facts) for face in self.faces))


@dataclass(frozen=True, eq=False)
class FacePath:
    """Detections of one tracked face.

    Attributes:
        times_s: (D,) float64 in seconds on the clip's clock, ascending.
        boxes: (D, 4) float32: left, top, right, bottom in px of the upright frame.
    """

    times_s: np.ndarray
    boxes: np.ndarray


def failed(reason: str) -> ClipFeatures:
    """Return the result for an unusable clip with this reason code."""
    return ClipFeatures(ClipFacts(status="failed", reason=reason))
