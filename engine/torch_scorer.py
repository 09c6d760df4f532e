"""Scoring with torch: of samples for the Python API, of batches for the loop over a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from dataset.batch import Batch, collate
from dataset.samples import Sample
from engine.scoring import FLIPS, ClipTerms, rows_of
from engine.timeline.clip_score import combine_rows
from models.base import DetectorModel, DetectorOutput
from utils.features.clip import ClipFacts
from utils.metrics.calibration import Calibration


class TorchScorer:
    """A detector that scores with torch; see `engine.scoring.Scorer`."""

    def __init__(self, model: DetectorModel, device: torch.device, tta: int = 1) -> None:
        """Move a model to a device and set it to evaluation mode. A score is the mean over `tta` fixed views."""
        self.model = model.to(device).eval()
        self.inputs = tuple(model.inputs)
        self.terms = tuple(model.terms)
        self._device = device
        self._tta = tta

    def __call__(self, samples: Sequence[Sample]) -> ClipTerms:
        """Score the samples of B clips."""
        return self.terms_of(collate(samples))

    def terms_of(self, batch: Batch) -> ClipTerms:
        """Score a batch of B clips."""
        batch = batch.to(self._device)
        usable = self.model.usable(batch)
        numbers = usable.cpu().numpy()
        logit = np.full(len(batch), np.nan)
        evidence = {name: np.full(len(batch), np.nan) for name in self.terms}
        if numbers.any():
            output = batch_terms(self.model, batch.select(usable), self._tta)
            logit[numbers] = finite_or_nan(output.logit)
            for name, term in output.terms.items():
                has_input = output.masked.get(name, torch.zeros_like(usable[usable])).logical_not()
                evidence[name][numbers] = finite_or_nan(torch.where(has_input, term, torch.nan))
        return ClipTerms(numbers, logit, evidence)


@torch.inference_mode()
def batch_terms(model: DetectorModel, batch: Batch, tta: int) -> DetectorOutput:
    """Compute the terms of B usable clips, averaged over `tta` fixed views."""
    views = [model(batch.flipped(time=time, frequency=frequency)) for time, frequency in FLIPS[tta]]
    names = views[0].terms
    return DetectorOutput(
        {name: torch.stack([view.terms[name] for view in views]).mean(dim=0) for name in names}, views[0].masked
    )


def score_batches(
    model: DetectorModel,
    batches: Iterable[tuple[Batch, list[ClipFacts]]],
    *,
    device: torch.device,
    calibration: Calibration,
    tta: int = 1,
) -> pd.DataFrame:
    """Score a stream of batches. Return one row per clip, see `rows_of`, without `window`. The model's mode is restored."""
    was_training = model.training
    scorer = TorchScorer(model, device, tta)
    rows: list[dict[str, Any]] = []
    for batch, facts in batches:
        rows += rows_of(batch.index.tolist(), facts, scorer.terms_of(batch), calibration)
    model.train(was_training)
    return clip_table(pd.DataFrame(rows), calibration)


def clip_table(table: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """Return a table with one row per clip from one with a row per window and face, see `combine_rows`."""
    if table["index"].duplicated().any():
        clips = [combine_rows(rows.to_dict("records")) for _, rows in table.groupby("index", sort=False)]
        table = pd.DataFrame(clips, columns=table.columns)
        table["score"] = calibration.score(table["logit"].to_numpy(float))
    return table.drop(columns="window")


def finite_or_nan(values: torch.Tensor) -> np.ndarray:
    """Return (B,) float64 on the CPU, with NaN for values that are not finite."""
    numbers = values.double().cpu().numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)
