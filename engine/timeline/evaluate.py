"""Evaluation of suspicious spans on clips whose fake parts are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dataset.labels import read_table
from engine.detector import Detector
from engine.timeline.files import as_spans, true_spans
from engine.timeline.types import Timeline
from utils.errors import UsageError, WorkError
from utils.metrics.ranking import roc_auc
from utils.metrics.spans import span_average_precision, span_average_recall

OVERLAPS = (0.5, 0.75, 0.95)
PROPOSALS = (1, 5, 10)


def evaluate_timeline(
    detector: Detector, labels: Path, folder: Path, *, workers: int | None = None, progress: bool = False
) -> dict[str, Any]:
    """Score partial fakes and real clips with time lines, and compare their spans with the labels.

    Args:
        detector: a detector with a time line.
        labels: label file with `video_name`, `target`, `start_s` and `end_s`.
        folder: folder of the clips.
        workers: see `Detector.score_many`.
        progress: whether to show a progress bar.

    Returns:
        `n_partial_fakes`, `n_real`, `ap` and `ar` by overlap and by number of proposals, `window_auc` (windows that are at
        least half fake against those without a fake part), and `false_spans_per_minute` of the real clips.

    Raises:
        UsageError: a column is missing.
        WorkError: no clip is a partial fake.
    """
    table = read_table(labels)
    missing = {"video_name", "target", "start_s", "end_s"} - set(table.columns)
    if missing:
        raise UsageError(f"{labels} has no column {sorted(missing)[0]!r}")
    truth = {str(row["video_name"]): true_spans(row) for row in table.to_dict("records")}
    is_real = {str(row["video_name"]): float(row["target"]) == 0 for row in table.to_dict("records")}
    names = [name for name, spans in truth.items() if spans or is_real[name]]
    if not any(truth[name] for name in names):
        raise WorkError(f"{labels}: no clip has a fake part")
    found: dict[str, list[tuple[float, float, float]]] = {}
    windows: list[tuple[bool, float]] = []
    false_spans, real_s = 0, 0.0
    scores = detector.score_many([folder / name for name in names], workers=workers, progress=progress, timeline=True)
    for name, score in zip(names, scores, strict=True):
        found[name] = as_spans(score)
        if score.timeline is not None:
            windows += labelled_windows(score.timeline, truth[name])
            if is_real[name]:
                false_spans += len(score.spans)
                real_s += float(score.timeline.end_s.max(initial=0.0))
    known = {name: truth[name] for name in names}
    fake, window_scores = (np.array([window[column] for window in windows], float) for column in (0, 1))
    return {
        "n_partial_fakes": sum(bool(spans) for spans in known.values()),
        "n_real": sum(is_real[name] for name in names),
        "ap": {f"{least:g}": span_average_precision(known, found, least) for least in OVERLAPS},
        "ar": {str(count): span_average_recall(known, found, count) for count in PROPOSALS},
        "window_auc": roc_auc(fake, window_scores).value,
        "false_spans_per_minute": 60 * false_spans / real_s if real_s else None,
    }


def labelled_windows(timeline: Timeline, spans: list[tuple[float, float]]) -> list[tuple[bool, float]]:
    """Return (is fake, score) of the scored windows; those that are fake in less than half of their time are left out."""
    windows = []
    for start_s, end_s, score in zip(timeline.start_s, timeline.end_s, timeline.score, strict=True):
        shared = sum(max(0.0, min(end_s, end) - max(start_s, start)) for start, end in spans)
        if np.isfinite(score) and (shared == 0 or shared >= (end_s - start_s) / 2):
            windows.append((shared > 0, float(score)))
    return windows


def format_figures(figures: Mapping[str, Any]) -> str:
    """Return the figures as lines of text."""

    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    ap = ", ".join(f"AP@{least} {shown(value)}" for least, value in figures["ap"].items())
    ar = ", ".join(f"AR@{count} {shown(value)}" for count, value in figures["ar"].items())
    return "\n".join(
        [
            f"{figures['n_partial_fakes']} partial fakes, {figures['n_real']} real clips",
            f"{ap}; {ar}",
            f"windows: AUC {shown(figures['window_auc'])}",
            f"real clips: {shown(figures['false_spans_per_minute'])} false spans per minute",
        ]
    )
