"""Real/fake decisions and probabilities for the clips of a split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.metrics.calibration import Calibration
from utils.metrics.clips import EvaluatedClips
from utils.metrics.cross_fit import cross_fit
from utils.metrics.thresholds import DEFAULT_THRESHOLD


@dataclass(frozen=True)
class DecisionRule:
    """Settings that turn logits into scores and scores into real/fake decisions.

    Attributes:
        calibration: Computes the score from the logit and supplies the threshold.
        threshold: Score at or above which a clip is called fake, and below which it is called real; overrides the
            calibration's thresholds.
        in_sample: Whether the calibration was fitted on the clips being evaluated. If so, every figure that depends on
            it is cross-fitted.
    """

    calibration: Calibration | None = None
    threshold: float | None = None
    in_sample: bool = False


@dataclass(frozen=True)
class Decisions:
    """Scores and decisions used by the threshold and calibration metrics.

    Attributes:
        threshold: Score at or above which a clip is called fake, or ``None``.
        real_threshold: Score below which a clip is called real; equal to ``threshold`` if there is only one threshold.
        called_fake: (n,) whether each scored clip is called fake, or ``None``.
        called_real: (n,) whether each scored clip is called real, or ``None``.
        probability: (n,) probability of fake of the scored clips, or ``None``.
        no_threshold: Why ``threshold`` is ``None``.
        no_call: Why ``called_fake`` and ``called_real`` are ``None``.
        no_probability: Why ``probability`` is ``None``.
    """

    threshold: float | None
    real_threshold: float | None
    called_fake: np.ndarray | None
    called_real: np.ndarray | None
    probability: np.ndarray | None
    no_threshold: str
    no_call: str
    no_probability: str


def decide_clips(clips: EvaluatedClips, rule: DecisionRule, seed: int) -> Decisions:
    """Call each clip fake, real or neither.

    The fake threshold is ``rule.threshold`` if given, otherwise the calibration's, otherwise 0.5. With ``rule.in_sample``,
    decisions and probabilities are cross-fitted.

    Args:
        clips: The labelled clips.
        rule: Calibration and threshold.
        seed: Seed of the cross-fitting folds.
    """
    threshold, calibration = rule.threshold, rule.calibration
    real_threshold: float | None = None
    given = threshold is not None
    no_threshold = ""
    if not given and calibration is not None:
        threshold, real_threshold = calibration.threshold, calibration.real_threshold
    elif not given and clips.not_probability:
        no_threshold = f"{clips.not_probability} and no threshold was given"
    elif not given:
        threshold = DEFAULT_THRESHOLD
    real_threshold = threshold if real_threshold is None else real_threshold
    called_fake = None if threshold is None else clips.score >= threshold
    called_real = None if real_threshold is None else clips.score < real_threshold
    probability = None if clips.not_probability else clips.score
    no_call, no_probability = no_threshold, clips.not_probability
    if rule.in_sample and calibration is not None and calibration.is_fitted and clips.logit is not None:
        columns = (clips.is_fake[clips.scored], clips.logit[clips.scored])
        groups = clips.groups()
        groups = None if groups is None else groups[clips.scored]
        crossed = cross_fit(*columns, like=calibration, groups=groups, seed=seed)
        probability, no_probability = _expand(crossed.score, clips.scored), crossed.reason
        if not given:
            called_fake = _expand(crossed.called_fake, clips.scored)
            called_real, no_call = _expand(crossed.called_real, clips.scored), crossed.reason
    return Decisions(
        threshold=threshold,
        real_threshold=real_threshold,
        called_fake=called_fake,
        called_real=called_real,
        probability=probability,
        no_threshold=no_threshold,
        no_call=no_call,
        no_probability=no_probability,
    )


def _expand(values: np.ndarray | None, scored: np.ndarray) -> np.ndarray | None:
    """Expand values of the scored clips to all clips; unscored clips get NaN."""
    if values is None:
        return None
    expanded = np.full(len(scored), np.nan)
    expanded[scored] = values
    return expanded
