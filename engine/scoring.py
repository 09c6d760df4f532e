"""Scoring of clips, shared by validation, `--checkpoint` and inference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import torch

from dataset.batch import Batch
from models.base import DetectorModel, DetectorOutput
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


@torch.inference_mode()
def batch_terms(model: DetectorModel, batch: Batch, tta: int) -> DetectorOutput:
    """Compute the terms of B usable clips, averaged over `tta` fixed views."""
    views = [model(batch.flipped(time=time, frequency=frequency)) for time, frequency in FLIPS[tta]]
    names = views[0].terms
    return DetectorOutput(
        {name: torch.stack([view.terms[name] for view in views]).mean(dim=0) for name in names}, views[0].masked
    )


def scored_parts(
    model: DetectorModel,
    batches: Iterable[tuple[Batch, list[ClipFacts]]],
    *,
    device: torch.device,
    calibration: Calibration,
    tta: int = 1,
) -> Iterator[pd.DataFrame]:
    """Score a stream of batches and yield one table per batch.

    The model must be in evaluation mode. A clip's score does not depend on the other clips.

    Yields:
        One row per clip: `index` (row in the label table), `logit` and `score` (NaN when unscored), `status`, `reason`, and a
        column `evidence_<term>` per term, NaN where the term abstains. `reason` is `missing_modality` if a required input is
        missing and no other reason is known; `non_finite` is appended if the logit is not finite.
    """
    model.eval()
    for batch, facts in batches:
        batch = batch.to(device)
        usable = model.usable(batch)
        numbers = usable.cpu().numpy()
        logit = np.full(len(batch), np.nan)
        evidence = {name: np.full(len(batch), np.nan) for name in model.terms}
        if numbers.any():
            output = batch_terms(model, batch.select(usable), tta)
            logit[numbers] = finite_or_nan(output.logit)
            for name, term in output.terms.items():
                heard = output.masked.get(name, torch.zeros_like(usable[usable])).logical_not()
                evidence[name][numbers] = finite_or_nan(torch.where(heard, term, torch.nan))
        rows: list[dict] = []
        for row, (index, fact) in enumerate(zip(batch.index.tolist(), facts, strict=True)):
            reason = fact.reason
            if not numbers[row]:
                reason = reason or MISSING_MODALITY
            elif np.isnan(logit[row]):
                reason = join_reasons({*fact.reasons, NON_FINITE})
            cells = {"index": index, "logit": logit[row], "status": fact.status, "reason": reason}
            rows.append(cells | {EVIDENCE_PREFIX + name: values[row] for name, values in evidence.items()})
        table = pd.DataFrame(rows)
        table.insert(1, "score", calibration.score(table["logit"].to_numpy(float)))
        yield table


def score_batches(
    model: DetectorModel,
    batches: Iterable[tuple[Batch, list[ClipFacts]]],
    *,
    device: torch.device,
    calibration: Calibration,
    tta: int = 1,
) -> pd.DataFrame:
    """Score a stream of batches and return the tables of `scored_parts` as one."""
    was_training = model.training
    parts = list(scored_parts(model, batches, device=device, calibration=calibration, tta=tta))
    model.train(was_training)
    return pd.concat(parts, ignore_index=True)


def finite_or_nan(values: torch.Tensor) -> np.ndarray:
    """Return (B,) float64 on the CPU, with NaN for values that are not finite."""
    numbers = values.double().cpu().numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)
