"""AUC tables by fake type, modality and source, over the scored clips."""

from __future__ import annotations

from typing import Any

import numpy as np

from utils.metrics.clips import EvaluatedClips
from utils.metrics.delong import delong_interval
from utils.metrics.estimate import Estimate

Table = dict[str, dict[str, Any]]


def fakes_against_all_reals(clips: EvaluatedClips, column: str) -> tuple[Table, dict[str, str]]:
    """Compute the AUC of each kind of fake against all reals.

    Args:
        clips: The labelled clips.
        column: Label column with the kind of fake, such as ``type`` or ``modality``.

    Returns:
        ``{label: {"n", "coverage", "auc", "low", "high"}}`` where ``n`` is the number of fakes of that kind and the limits
        are DeLong's; and the reason for each ``None``, by dotted path relative to the table.
    """
    labels = clips.labels(column)
    table: Table = {}
    reasons: dict[str, str] = {}
    if labels is None:
        return table, reasons
    for label in sorted(set(labels[clips.is_fake])):
        of_kind = clips.is_fake & (labels == label)
        ranked = clips.scored & (of_kind | ~clips.is_fake)
        row: dict[str, Any] = {"n": int(of_kind.sum()), "coverage": float(clips.scored[of_kind].mean())}
        table[label] = row | _auc_cells(clips, ranked, label, reasons)
    return table, reasons


def within_sources(clips: EvaluatedClips) -> tuple[Table, dict[str, str]]:
    """Compute the AUC of each source's fakes against its own reals.

    Returns:
        ``{source: {"n_real", "n_fake", "coverage", "auc", "low", "high"}}`` with DeLong limits; and the reason
        for each ``None``, by dotted path relative to the table.
    """
    labels = clips.labels("source")
    table: Table = {}
    reasons: dict[str, str] = {}
    if labels is None:
        return table, reasons
    names, inverse = np.unique(labels.astype(str), return_inverse=True)
    # One sort is faster than one comparison per source, since a set may have as many sources as speakers.
    members_of = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    for label, members in zip(names.tolist(), members_of, strict=True):
        row: dict[str, Any] = {
            "n_real": int((~clips.is_fake[members]).sum()),
            "n_fake": int(clips.is_fake[members].sum()),
            "coverage": float(clips.scored[members].mean()),
        }
        table[label] = row | _auc_cells(clips, members[clips.scored[members]], label, reasons)
    return table, reasons


def macro_average(table: Table) -> Estimate:
    """Return the unweighted mean AUC of a table's rows."""
    aucs = [row["auc"] for row in table.values() if row["auc"] is not None]
    if not aucs:
        return Estimate(None, "no row of the table has an AUC" if table else "the fakes are not divided into types")
    return Estimate(float(np.mean(aucs)))


def _auc_cells(clips: EvaluatedClips, ranked: np.ndarray, label: str, reasons: dict[str, str]) -> dict[str, Any]:
    """Compute AUC and limits of the clips in ``ranked`` (a mask or indices); add missing ones to ``reasons``."""
    interval = delong_interval(clips.is_fake[ranked], clips.ranking[ranked])
    if interval.value is None:
        reasons[f"{label}.auc"] = interval.reason
    elif interval.low is None:
        reasons[f"{label}.low"] = reasons[f"{label}.high"] = interval.reason
    return {"auc": interval.value, "low": interval.low, "high": interval.high}
