"""The result of scoring one clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.timeline.types import FaceTrack, Finding, Span, Timeline
from utils.metrics.calibration import Verdict


@dataclass(frozen=True)
class Score:
    """The score of one clip.

    Attributes:
        video: path of the clip as given, or `ClipArrays.name`.
        score: calibrated probability of fake in [0, 1]; `None` for an unscored clip.
        logit: uncalibrated score, positive for fake; `None` for an unscored clip.
        verdict: `fake`, `inconclusive`, `real` or `unscored`.
        thresholds: `fake`: lowest score with that verdict; `real`: scores below have that verdict. Without `real`, all scores
            below `fake` have the verdict `real`.
        status: `ok`, `partial` (a modality is missing or truncated) or `failed`.
        reason: reason codes joined with `+`; empty when ok.
        evidence: expert -> its additive contribution to the logit; `None` where the expert abstains.
        timeline: scores over time; `None` unless requested.
        spans: suspicious parts, by start; empty unless the time line was requested.
        findings: observations that do not enter the score, by start; empty unless the time line was requested.
        faces: tracked faces of a clip with several faces or with a time line, by number.
        cuts_s: times of the cuts in seconds, ascending; empty unless the time line was requested.
    """

    video: str
    score: float | None
    logit: float | None
    verdict: Verdict
    thresholds: Mapping[str, float]
    status: str
    reason: str
    evidence: Mapping[str, float | None] = field(default_factory=dict)
    timeline: Timeline | None = None
    spans: tuple[Span, ...] = ()
    findings: tuple[Finding, ...] = ()
    faces: tuple[FaceTrack, ...] = ()
    cuts_s: tuple[float, ...] = ()
