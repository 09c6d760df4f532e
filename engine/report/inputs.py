"""What a report is made from, and how its metrics are read: a value, or null with its reason, never NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

# fmt: off
LABEL_COLUMNS = frozenset((
    "video_name", "target", "score", "logit", "status", "reason", "type", "source", "group", "identity", "generator",
    "person", "modality", "start_s", "end_s", "spans", "split", "fold", "duration_s", "n_frames", "fps", "has_audio",
    "seconds", "verdict", "threshold",
))
# fmt: on
"""Columns of predictions.csv that describe the clip or its score; further numeric columns are evidence."""


@dataclass(frozen=True)
class ReportInputs:
    """Everything a report shows. Only `title` and `metrics` are needed; what is empty is said to be missing.

    Attributes:
        title: Heading of the page, e.g. the run's name.
        metrics: Split name -> the split's metrics.json. The last one is the evaluated split, whose AUC is the headline.
        predictions: Split name -> its predictions.csv: `video_name, target, score, logit, status, reason`, label
            columns such as `type` and `source`, and one column per evidence head.
        history: One mapping per epoch: `epoch, train_loss, val_loss, val_auc, lr, seconds`; any of them may be absent.
        provenance: `command, config_yaml, commit, dirty, versions, device, seed, data_fingerprint, checkpoint,
            initialisation, started, finished`; further keys are listed as they are. Values are text, numbers or flat
            mappings (`data_fingerprint` may map split -> fingerprint). `commit` is `unknown` outside a git checkout.
        audit: Rows of the shortcut audit: `probe, auc, low, high, verdict, remedy`; None if it was not run.
        robustness: Columns `family, severity, auc, low, high, coverage`; None if it was not run.
        leakage: Check name -> count, or -> list of the clip pairs found; None if it was not run.
        evidence_columns: Columns of `predictions` that are evidence heads; by default every numeric column that is not
            a known label column.
    """

    title: str
    metrics: Mapping[str, Mapping[str, Any]]
    predictions: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    audit: list[dict[str, Any]] | None = None
    robustness: pd.DataFrame | None = None
    leakage: Mapping[str, Any] | None = None
    evidence_columns: tuple[str, ...] = ()

    @property
    def headline_split(self) -> str:
        """Name of the evaluated split: the last one in `metrics`; empty without metrics."""
        return next(reversed(list(self.metrics)), "")


@dataclass(frozen=True)
class ReportedMetric:
    """A metric with its interval. `value` is None where it could not be computed, and `reason` then says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return self.low is not None and self.high is not None


def number(value: Any) -> float | None:
    """`value` as a finite float; None for everything else (null, NaN, infinity, text that is no number)."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def reason_for(metrics: Mapping[str, Any], key: str) -> str:
    """Why `key` (dotted path) is null: its own reason, else that of the nearest enclosing path, else a plain remark."""
    reasons = metrics.get("reasons")
    reasons = reasons if isinstance(reasons, Mapping) else {}
    path = key
    while path:
        if reasons.get(path):
            return str(reasons[path])
        path = path.rpartition(".")[0]
    return "not recorded in metrics.json"


def read_metric(metrics: Mapping[str, Any], key: str, entry: object = None) -> ReportedMetric:
    """The metric at `key` (or `entry`, already looked up): a plain number, or a mapping with value, low and high."""
    entry = metrics.get(key) if entry is None else entry
    low = high = None
    if isinstance(entry, Mapping):
        low, high = number(entry.get("low")), number(entry.get("high"))
        value = number(entry.get("value", entry.get("auc")))
    else:
        value = number(entry)
    return ReportedMetric(value, low, high, "" if value is not None else reason_for(metrics, key))


def read_group_auc(metrics: Mapping[str, Any], table: str, name: str) -> ReportedMetric:
    """The AUC of one row of a per-type, per-source or per-modality table: `{"n", "auc": number or mapping, ...}`."""
    entry = metrics[table][name]
    key = f"{table}.{name}.auc"
    if not isinstance(entry, Mapping):
        return read_metric(metrics, key, entry)
    auc = entry.get("auc", entry)
    if not isinstance(auc, Mapping):
        auc = {"value": auc, "low": entry.get("low"), "high": entry.get("high")}
    return read_metric(metrics, key, auc)


@dataclass(frozen=True)
class Scored:
    """The labelled and scored rows of a split.

    Attributes:
        target: (N,) 1 = fake, 0 = real.
        rank: (N,) what AUC, ROC and DET order by: the logit, or the score where the file has no logit.
        score: (N,) calibrated probability of fake in [0, 1]; NaN where the file has none.
    """

    target: np.ndarray
    rank: np.ndarray
    score: np.ndarray

    @property
    def n_fake(self) -> int:
        """Number of scored fake clips."""
        return int((self.target == 1).sum())

    @property
    def n_real(self) -> int:
        """Number of scored real clips."""
        return int((self.target == 0).sum())

    @property
    def has_both(self) -> bool:
        """Whether both classes are present, so that ROC and DET exist."""
        return self.n_fake > 0 and self.n_real > 0


def numeric_column(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Column `name` as float64, NaN where it is absent, not a number or not finite."""
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def scored_rows(frame: pd.DataFrame | None) -> Scored:
    """The rows of `frame` that have a target in {0, 1} and a finite logit (or score)."""
    if frame is None:
        empty = np.empty(0)
        return Scored(empty.astype(int), empty, empty)
    target, score, rank = (numeric_column(frame, name) for name in ("target", "score", "logit"))
    if np.isnan(rank).all():
        rank = score
    keep = np.isin(target, (0.0, 1.0)) & ~np.isnan(rank)
    return Scored(target[keep].astype(int), rank[keep], score[keep])
