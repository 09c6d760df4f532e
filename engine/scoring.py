"""The one way from a clip to its score, for validation, `--checkpoint` and inference alike."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch

from dataset.batch import Batch
from models.base import Detector, DetectorOutput
from utils.features.extract import ClipFacts
from utils.metrics.calibration import Calibration

FLIPS = {
    1: [(False, False)],
    2: [(False, False), (True, False)],
    4: [(False, False), (True, False), (False, True), (True, True)],
}
"""Test-time views of the mel picture, as (mirrored in time, mirrored in frequency)."""


EVIDENCE_PREFIX = "evidence_"
"""How the columns of a score's terms begin."""


@torch.inference_mode()
def batch_terms(model: Detector, batch: Batch, tta: int) -> DetectorOutput:
    """The terms of B usable clips, averaged over `tta` fixed views."""
    views = [model(batch.flipped(time=time, frequency=frequency)).terms for time, frequency in FLIPS[tta]]
    return DetectorOutput({name: torch.stack([view[name] for view in views]).mean(dim=0) for name in views[0]})


def score_batches(
    model: Detector,
    batches: Iterable[tuple[Batch, list[ClipFacts]]],
    *,
    device: torch.device,
    calibration: Calibration,
    tta: int = 1,
) -> pd.DataFrame:
    """Score every clip of a stream of batches.

    The model runs in evaluation mode on each clip's own inputs: a score never depends on the other clips.

    Returns:
        One row per clip: `index` (row in the label table), `logit` and `score` (NaN when unscored), `status`, `reason`
        (`missing_modality` is added for a clip that the model cannot judge), and a column `evidence_<term>` per term.
    """
    was_training = model.training
    model.eval()
    rows: list[dict] = []
    for batch, facts in batches:
        batch = batch.to(device)
        usable = model.usable(batch)
        numbers = usable.cpu().numpy()
        logit = np.full(len(batch), np.nan)
        evidence: dict[str, np.ndarray] = {}
        if numbers.any():
            output = batch_terms(model, batch.select(usable), tta)
            logit[numbers] = output.logit.double().cpu().numpy()
            for name, term in output.terms.items():
                evidence[name] = np.full(len(batch), np.nan)
                evidence[name][numbers] = term.double().cpu().numpy()
        for row, (index, fact) in enumerate(zip(batch.index.tolist(), facts, strict=True)):
            reason = fact.reason if numbers[row] or fact.reason else "missing_modality"
            cells = {"index": index, "logit": logit[row], "status": fact.status, "reason": reason}
            rows.append(cells | {EVIDENCE_PREFIX + name: values[row] for name, values in evidence.items()})
    model.train(was_training)
    table = pd.DataFrame(rows)
    table.insert(1, "score", calibration.score(table["logit"].to_numpy(float)))
    return table
