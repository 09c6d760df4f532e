"""Result types of the time line. They need numpy only, so that programs can use them without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

SYNC = "sync"
LEAST_SYNC_SCALE = 0.3
"""Minimum scale of drawings of the gain that `SYNC` measures, in correlation; it keeps small differences small."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """Scores of N short windows of a clip. All times are in seconds on the clip's clock; 0 is the start of the clip.

    Attributes:
        start_s: (N,) float64, start of each window, ascending. Windows overlap.
        end_s: (N,) float64, end of each window.
        score: (N,) float64, calibrated probability of fake in [0, 1]; NaN where no expert scored the window.
        evidence: expert -> (N,) float64, its additive contribution to the logit of the window; NaN where it abstains. `sync`
            is not part of the logit: it is a difference of correlations, 0 where lips and voice agree, 0.15 and more where
            another offset fits clearly better.
    """

    start_s: np.ndarray
    end_s: np.ndarray
    score: np.ndarray
    evidence: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return N."""
        return len(self.score)

    def seconds_of(self, first: int, after: int, duration_s: float) -> tuple[float, float]:
        """Return start and end of the part of a clip that windows `first` to `after` (exclusive) stand for, in seconds.

        A window stands for the second in its middle; the first and the last one also for what precedes and follows.
        """
        middle_s = (self.start_s + self.end_s) / 2
        start_s = 0.0 if first == 0 else middle_s[first] - 0.5
        end_s = duration_s if after == len(self) else middle_s[after - 1] + 0.5
        return float(max(0.0, start_s)), float(min(duration_s, end_s))

    def parts(self, duration_s: float) -> list[tuple[float, float]]:
        """Return start and end of the part of a clip that each window stands for, in seconds. They do not overlap."""
        found: list[tuple[float, float]] = []
        for number in range(len(self)):
            start_s, end_s = self.seconds_of(number, number + 1, duration_s)
            found.append((max(start_s, found[-1][1]) if found else start_s, end_s))
        return found

    @property
    def without_sync(self) -> Timeline:
        """The same without `SYNC`, so that all evidence is in log-odds."""
        return replace(self, evidence={name: values for name, values in self.evidence.items() if name != SYNC})

    def leading_expert(self, first: int, after: int) -> str:
        """Return the expert with the largest mean evidence in windows `first` to `after`; empty without evidence."""
        means = {
            expert: float(np.nanmean(values[first:after]))
            for expert, values in self.evidence.items()
            if np.isfinite(values[first:after]).any()
        }
        return max(means, key=means.__getitem__, default="")


@dataclass(frozen=True)
class Span:
    """A suspicious part of a clip.

    Attributes:
        start_s: start in seconds on the clip's clock.
        end_s: end in seconds.
        score: largest calibrated probability of fake of its windows, in [0, 1]; by `contrast`, the probability that they would
            have in an otherwise typical clip.
        expert: the expert with the largest evidence in the span.
        basis: `score` if the windows reach the fake threshold, `contrast` if they stand out from the rest of the clip.
    """

    start_s: float
    end_s: float
    score: float
    expert: str
    basis: Literal["score", "contrast"] = "score"


@dataclass(frozen=True)
class Finding:
    """An observation about a part of a clip that does not enter its score.

    Attributes:
        code: stable code, for example `sync_offset`.
        message: a phrase in plain English.
        start_s: start of the part in seconds on the clip's clock.
        end_s: end of the part in seconds.
    """

    code: str
    message: str
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One tracked face. In a long clip, tracks of its windows are linked by position.

    Attributes:
        number: number of the track in the clip, from 1, in order of appearance.
        start_s: time of its first frame in seconds on the clip's clock.
        end_s: end of its last frame in seconds.
        times_s: (T,) float64, times of the frames with a detection, ascending.
        boxes: (T, 4) float32, detected boxes as left, top, right, bottom in px of the upright frame.
        score: calibrated probability of fake of the clip if this were its only face; `None` if the face was not scored.
        evidence: face-based expert -> its contribution to the logit; `None` where it abstains.
    """

    number: int
    start_s: float
    end_s: float
    times_s: np.ndarray
    boxes: np.ndarray
    score: float | None = None
    evidence: Mapping[str, float | None] = field(default_factory=dict)
