"""Calls and probabilities of the clips of a split, cross-fitted where the calibration was fitted on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.metrics.calibration import Calibration, cross_fit
from utils.metrics.clips import EvaluatedClips
from utils.metrics.thresholds import DEFAULT_THRESHOLD


@dataclass(frozen=True)
class Verdicts:
    """Scores and calls that the threshold and calibration figures are computed from.

    Attributes:
        threshold: Score from which a clip is called fake, or ``None``.
        called_fake: (n,) whether each scored clip is called fake, or ``None``.
        probability: (n,) probability of fake of the scored clips, or ``None``.
        no_threshold: Why ``threshold`` is ``None``.
        no_call: Why ``called_fake`` is ``None``.
        no_probability: Why ``probability`` is ``None``.
    """

    threshold: float | None
    called_fake: np.ndarray | None
    probability: np.ndarray | None
    no_threshold: str
    no_call: str
    no_probability: str


def reach_verdicts(
    clips: EvaluatedClips, calibration: Calibration | None, threshold: float | None, in_sample: bool, seed: int
) -> Verdicts:
    """Judge the clips by ``threshold``, else by the calibration's, else at 0.5.

    Args:
        clips: The labelled clips.
        calibration: What the scores and the threshold come from.
        threshold: A threshold that was fixed otherwise.
        in_sample: Cross-fit what ``calibration`` had fitted on these clips.
        seed: Seed of the folds.
    """
    given = threshold is not None
    no_threshold = ""
    if not given and calibration is not None:
        threshold = calibration.threshold
    elif not given and clips.not_probability:
        no_threshold = f"{clips.not_probability} and no threshold was given"
    elif not given:
        threshold = DEFAULT_THRESHOLD
    called_fake = None if threshold is None else clips.score >= threshold
    probability = None if clips.not_probability else clips.score
    no_call, no_probability = no_threshold, clips.not_probability
    if in_sample and calibration is not None and calibration.is_fitted and clips.logit is not None:
        columns = (clips.is_fake[clips.scored], clips.logit[clips.scored])
        groups = clips.groups()
        groups = None if groups is None else groups[clips.scored]
        crossed = cross_fit(*columns, like=calibration, groups=groups, seed=seed)
        probability, no_probability = _spread(crossed.score, clips.scored), crossed.reason
        if not given:
            called_fake, no_call = _spread(crossed.called_fake, clips.scored), crossed.reason
    return Verdicts(threshold, called_fake, probability, no_threshold, no_call, no_probability)


def _spread(values: np.ndarray | None, scored: np.ndarray) -> np.ndarray | None:
    """Put the values of the scored clips at their places among all clips, NaN elsewhere."""
    if values is None:
        return None
    spread = np.full(len(scored), np.nan)
    spread[scored] = values
    return spread
