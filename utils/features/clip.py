"""Facts and features of one clip, as the extractor, the feature store and the batch exchange them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ClipFacts:
    """Facts of a clip apart from its features; one row of `extraction.csv` without the name.

    Attributes:
        status: `ok`, `partial` (a modality is missing or cut), `failed` or `pending`.
        reason: reason codes joined with `+`; empty when ok.
        duration_s: duration of the longer stream; 0 when unknown.
        n_frames: number of decoded frames.
        fps: average frame rate; 0 without video.
        has_audio: whether any audio sample was decoded.
    """

    status: str
    reason: str = ""
    duration_s: float = 0.0
    n_frames: int = 0
    fps: float = 0.0
    has_audio: bool = False

    @property
    def reasons(self) -> frozenset[str]:
        """The reason codes as a set."""
        return frozenset(code for code in self.reason.split("+") if code)


@dataclass(frozen=True)
class ClipFeatures:
    """Facts and feature values of a clip.

    Attributes:
        facts: findings of the decoder.
        values: feature name -> value, for the requested features; `None` where the clip has none. Empty for a failed clip.
    """

    facts: ClipFacts
    values: Mapping[str, Any] = field(default_factory=dict)


def failed(reason: str) -> ClipFeatures:
    """Return the features of a clip that could not be used, with this reason code."""
    return ClipFeatures(ClipFacts(status="failed", reason=reason))
