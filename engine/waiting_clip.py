"""A clip between the extraction of its features and its score."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dataset.samples import InputLayout
from engine.score import Score
from engine.scoring import EVIDENCE_PREFIX, Scorer
from engine.scoring_progress import ClipProgress, Report
from engine.timeline.build import build_timeline
from engine.timeline.clip_score import combine_rows
from engine.timeline.faces import face_tracks, whole_tracks
from engine.timeline.spans import suspicious_spans
from engine.timeline.sync_offset import sync_findings, sync_parts, with_sync
from utils.features.clip import ClipFacts, ClipFeatures, ClipWindow
from utils.features.seconds import ClipSeconds
from utils.metrics.calibration import Calibration


@dataclass
class WaitingClip:
    """A clip that is being scored.

    Attributes:
        name: its name in the result.
        parts: number of its samples.
        n_windows: number of its windows, at least 1.
        rows: rows of the samples scored so far.
        windows: spans and face paths of its windows, without features; empty for a clip with one face and no time line.
        facts: facts of the clip.
        seconds: the clip second by second, for the time line.
    """

    name: str
    parts: int = 1
    n_windows: int = 1
    rows: list[dict[str, Any]] = field(default_factory=list)
    windows: tuple[ClipWindow, ...] = ()
    facts: ClipFacts | None = None
    seconds: ClipSeconds | None = None

    def expect(self, parts: int, clip: ClipFeatures, report: Report | None) -> None:
        """Store the number of samples of the clip, and what its result needs of its features. Report that scoring begins."""
        self.parts, self.facts, self.seconds = parts, clip.facts, clip.seconds
        self.n_windows = max(1, len(clip.windows))
        if clip.seconds is not None or any(len(window.faces) > 1 for window in clip.windows):
            self.windows = tuple(window.without_features() for window in clip.windows)
        self._tell(0, report)

    def add(self, row: dict[str, Any], report: Report | None) -> bool:
        """Add the row of the next sample, report the number of windows, and return whether it was the last."""
        self.rows.append(row)
        self._tell(row["window"] + 1, report)
        return len(self.rows) == self.parts

    def _tell(self, done: int, report: Report | None) -> None:
        if report is not None:
            report(ClipProgress("scoring", done, self.n_windows, "windows", self.n_windows > 1))

    def score(
        self, layout: InputLayout, scorer: Scorer, calibration: Calibration, report: Report | None = None
    ) -> Score:
        """Return the score of the clip, whose rows are complete. `report` receives the progress of the time line."""
        row = combine_rows(self.rows)
        probability = number_or_none(calibration.score(row["logit"]))
        score = Score(
            video=self.name,
            score=probability,
            logit=number_or_none(row["logit"]),
            verdict=calibration.verdict(probability),
            thresholds=calibration.thresholds,
            status=row["status"],
            reason=row["reason"],
            evidence={term: number_or_none(row[EVIDENCE_PREFIX + term]) for term in scorer.terms},
        )
        if self.seconds is None or self.facts is None:
            return replace(score, faces=face_tracks(self.windows, self.rows, calibration))
        timeline = build_timeline(self.seconds, self.facts, layout, scorer, calibration, report)
        sync = list(sync_parts(self.seconds))
        return replace(
            score,
            timeline=with_sync(timeline, sync),
            findings=sync_findings(sync),
            spans=suspicious_spans(timeline, calibration, self.seconds.duration_s),
            faces=whole_tracks(self.seconds, self.windows, self.rows, score, calibration),
            cuts_s=tuple(self.seconds.cuts_s),
        )


def number_or_none(value: Any) -> float | None:
    """Return a number, or `None` for NaN."""
    return None if value is None or np.isnan(value) else float(value)
