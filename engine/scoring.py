"""Scoring of clips, shared by validation, `--checkpoint` and inference. It does not depend on what runs the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dataset.samples import Sample, grouped
from utils.errors import UsageError
from utils.features.clip import ClipFacts
from utils.media.errors import join_reasons
from utils.metrics.calibration import Calibration

FLIPS = {
    1: [(False, False)],
    2: [(False, False), (True, False)],
    4: [(False, False), (True, False), (False, True), (True, True)],
}
"""Test-time views of the mel-spectrogram image, as (mirrored in time, mirrored in frequency)."""


EVIDENCE_PREFIX = "evidence_"
"""Prefix of the columns of a score's terms."""

MISSING_MODALITY, NON_FINITE = "missing_modality", "non_finite"
"""Reason codes set by scoring only."""


@dataclass(frozen=True)
class ClipTerms:
    """The scores of B clips before calibration.

    Attributes:
        usable: (B,) bool, the clips with the modalities that the detector needs; the others are not scored.
        logit: (B,) float64, NaN for clips that are not scored and where the logit is not finite.
        evidence: term -> (B,) float64, its contribution to the logit; NaN where it abstains or is not finite.
    """

    usable: np.ndarray
    logit: np.ndarray
    evidence: Mapping[str, np.ndarray]


class Scorer(Protocol):
    """A detector that is ready to score samples. A clip's score does not depend on the other clips.

    Attributes:
        inputs: names of the arrays read from `Sample.inputs`.
        terms: names of the terms.
    """

    inputs: tuple[str, ...]
    terms: tuple[str, ...]

    def __call__(self, samples: Sequence[Sample]) -> ClipTerms:
        """Score the samples of B clips, at least one."""


def scored_rows(
    scorer: Scorer, clips: Iterable[tuple[Sample, ClipFacts]], *, batch_size: int, calibration: Calibration
) -> Iterator[dict[str, Any]]:
    """Score a stream of clips, `batch_size` at a time, and yield their rows, see `rows_of`."""
    for group in grouped(clips, batch_size):
        terms = scorer([sample for sample, _ in group])
        yield from rows_of([sample.index for sample, _ in group], [facts for _, facts in group], terms, calibration)


def rows_of(
    index: Sequence[int], facts: Sequence[ClipFacts], terms: ClipTerms, calibration: Calibration
) -> list[dict[str, Any]]:
    """Return the scores of B clips as rows.

    Args:
        index: rows of the clips in the label table.
        facts: their facts.
        terms: their terms.
        calibration: conversion of a logit to a score.

    Returns:
        One row per clip: `index`, `score` and `logit` (NaN when unscored), `status`, `window`, `reason`, and `evidence_<term>`
        per term, NaN where the term abstains. `reason` is `missing_modality` if a required input is missing and no other
        reason is known; `non_finite` is appended if the logit is not finite.
    """
    scores = calibration.score(terms.logit)
    return [
        {
            "index": index[row],
            "score": float(scores[row]),
            "logit": float(terms.logit[row]),
            "status": fact.status,
            "window": fact.window,
            "reason": reason_of(fact, usable=bool(terms.usable[row]), finite=not np.isnan(terms.logit[row])),
        }
        | {EVIDENCE_PREFIX + name: float(values[row]) for name, values in terms.evidence.items()}
        for row, fact in enumerate(facts)
    ]


def reason_of(facts: ClipFacts, *, usable: bool, finite: bool) -> str:
    """Return the reason codes of a clip after scoring; see `rows_of`."""
    if not usable:
        return facts.reason or MISSING_MODALITY
    return facts.reason if finite else join_reasons({*facts.reasons, NON_FINITE})


def check_views(tta: int) -> None:
    """Raise a `UsageError` if `tta` is not a known number of views."""
    if tta not in FLIPS:
        raise UsageError(f"tta={tta!r}: expected one of {', '.join(map(str, FLIPS))}")
