"""Metrics of the verdicts: the thresholds, the error rates at them, and the balanced accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np

from utils.metrics.clips import EvaluatedClips
from utils.metrics.coverage import CoveragePolicy
from utils.metrics.decisions import Decisions
from utils.metrics.estimate import Estimate
from utils.metrics.figure_log import FigureLog
from utils.metrics.ranking import balanced_accuracy

# Share of an unscored clip that each coverage policy counts as called fake.
UNSCORED_CALL = {"exclude": np.nan, "as-real": 0.0, "as-fake": 1.0, "as-chance": 0.5}


def threshold_metrics(
    clips: EvaluatedClips, decisions: Decisions, policy: CoveragePolicy, log: FigureLog
) -> dict[str, Any]:
    """Compute the error rates of the verdicts.

    Args:
        clips: The labelled clips.
        decisions: Thresholds and calls of the clips.
        policy: How unscored clips count.
        log: Receives the reason for each figure that is ``None``.

    Returns:
        ``threshold``, ``balanced_accuracy``; ``at_threshold`` with the true-positive and false-positive rate at it; and
        ``thresholds``: ``fake`` (lowest score called fake), ``real`` (scores below are called real), ``false_alarms``
        (share of the real clips called fake), ``missed`` (share of the fakes called real) and ``inconclusive`` (share
        of the ``real`` clips and of the ``fake`` ones called neither).
    """
    unscored = UNSCORED_CALL[policy]
    fake, real = decisions.called_fake, decisions.called_real
    called_fake = None if fake is None else np.where(clips.scored, fake, unscored)
    called_real = None if real is None else np.where(clips.scored, real, 1 - unscored)
    neither = None if called_fake is None or called_real is None else 1 - called_fake - called_real

    def share(path: str, call: np.ndarray | None, members: np.ndarray) -> float | None:
        if call is None:
            return log.value(path, lambda: Estimate(None, decisions.no_call))
        return log.value(path, lambda: Estimate(float(np.nanmean(call[members]))))

    def balanced() -> Estimate:
        if called_fake is None:
            return Estimate(None, decisions.no_call)
        counted_clips = ~np.isnan(called_fake)
        return balanced_accuracy(clips.is_fake[counted_clips], called_fake[counted_clips])

    if decisions.threshold is None:
        for path in ("threshold", "thresholds.fake", "thresholds.real"):
            log.reasons[path] = decisions.no_threshold
    return {
        "threshold": decisions.threshold,
        "balanced_accuracy": log.value("balanced_accuracy", balanced),
        "at_threshold": {
            "tpr": share("at_threshold.tpr", called_fake, clips.is_fake),
            "fpr": share("at_threshold.fpr", called_fake, ~clips.is_fake),
        },
        "thresholds": {
            "fake": decisions.threshold,
            "real": decisions.real_threshold,
            "false_alarms": share("thresholds.false_alarms", called_fake, ~clips.is_fake),
            "missed": share("thresholds.missed", called_real, clips.is_fake),
            "inconclusive": {
                "real": share("thresholds.inconclusive.real", neither, ~clips.is_fake),
                "fake": share("thresholds.inconclusive.fake", neither, clips.is_fake),
            },
        },
    }
