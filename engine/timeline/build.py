"""The time line of a clip: scores of short windows, one per second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from dataset.samples import InputLayout, Sample, make_sample
from engine.scoring import EVIDENCE_PREFIX, Scorer, scored_rows
from engine.scoring_progress import ClipProgress, Report
from engine.timeline.clip_score import worst_faces
from engine.timeline.types import Timeline
from utils.features.clip import ClipFacts, ClipWindow
from utils.features.seconds import ClipSeconds, timeline_starts, timeline_windows
from utils.features.windows import SINGLE_S
from utils.metrics.calibration import Calibration

BATCH_WINDOWS = 8


def build_timeline(
    clip: ClipSeconds,
    facts: ClipFacts,
    layout: InputLayout,
    scorer: Scorer,
    calibration: Calibration,
    report: Report | None = None,
) -> Timeline:
    """Return the scores of a clip's windows of `TIMELINE_WINDOW_S`, one per second. A window takes its worst face.

    Args:
        clip: the clip second by second.
        facts: facts of the clip.
        layout: inputs of the detector.
        scorer: the detector.
        calibration: the clip's calibration, which was fitted on whole clips.
        report: receives the number of windows scored.
    """
    total = len(timeline_starts(clip.duration_s))
    rows: list[dict[str, Any]] = []
    spans: list[tuple[float, float]] = []

    def samples() -> Iterator[tuple[Sample, ClipFacts]]:
        windows: Iterator[ClipWindow] = timeline_windows(clip, layout.config, layout.plan, layout.features, facts)
        for number, window in enumerate(windows):
            spans.append((window.start_s, window.end_s))
            for face in window.faces:
                yield make_sample(number, float("nan"), face, layout), replace(facts, window=number)

    for row in scored_rows(scorer, samples(), batch_size=BATCH_WINDOWS, calibration=calibration):
        rows.append(row)
        if report is not None:
            report(ClipProgress("time line", row["window"] + 1, total, "windows", clip.duration_s > SINGLE_S))
    worst = worst_faces(rows)
    logits = np.array([row["logit"] for row in worst], float)
    return Timeline(
        start_s=np.array([start_s for start_s, _ in spans]),
        end_s=np.array([end_s for _, end_s in spans]),
        score=np.where(np.isfinite(logits), calibration.score(np.nan_to_num(logits)), np.nan),
        evidence={term: np.array([row[EVIDENCE_PREFIX + term] for row in worst], float) for term in scorer.terms},
    )
