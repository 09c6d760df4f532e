"""Input of a report and tolerant reading of its metrics: a value, or null with a reason, never NaN."""

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
    "seconds", "verdict", "threshold", "real_threshold",
))
# fmt: on
"""Columns of predictions.csv that describe the clip or its score; all other numeric columns are evidence."""


@dataclass(frozen=True)
class ReportInputs:
    """Content of a report. Only `title` and `metrics` are required; empty parts are reported as missing.

    Attributes:
        title: Heading of the page, e.g. the run's name.
        metrics: Split name -> the split's metrics.json. The last one is the evaluated split, whose AUC is the headline.
        predictions: Split name -> its predictions.csv: `video_name, target, score, logit, status, reason`, label
            columns such as `type` and `source`, and one column per evidence head.
        history: One mapping per epoch: `epoch, train_loss, val_loss, val_auc, lr, seconds`; any of them may be absent.
        provenance: `command, config_yaml, commit, dirty, versions, device, seed, data_fingerprint, checkpoint,
            initialisation, started, finished`; further keys are listed unchanged. Values are text, numbers or flat
            mappings (`data_fingerprint` may map split -> fingerprint). `commit` is `unknown` outside a git checkout.
        audit: Rows of the shortcut audit: `probe, auc, low, high, verdict` (the finding), `remedy` (the mitigation); None if
            it was not run.
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
    """A metric read from metrics.json. If `value` is None, `reason` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    @property
    def has_interval(self) -> bool:
        """Whether both limits of the interval are known."""
        return self.low is not None and self.high is not None


def number(value: Any) -> float | None:
    """Convert `value` to a finite float; return None for null, NaN, infinity and non-numeric text."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def reason_for(metrics: Mapping[str, Any], key: str) -> str:
    """Return why `key` (a dotted path) is null: the reason of the key or of its nearest parent path."""
    reasons = metrics.get("reasons")
    reasons = reasons if isinstance(reasons, Mapping) else {}
    path = key
    while path:
        if reasons.get(path):
            return str(reasons[path])
        path = path.rpartition(".")[0]
    return "not recorded in metrics.json"


def read_metric(metrics: Mapping[str, Any], key: str, entry: object = None) -> ReportedMetric:
    """Read the metric at `key`, or `entry` if given: a number, or a mapping with value, low and high."""
    entry = metrics.get(key) if entry is None else entry
    low = high = None
    if isinstance(entry, Mapping):
        low, high = number(entry.get("low")), number(entry.get("high"))
        value = number(entry.get("value", entry.get("auc")))
    else:
        value = number(entry)
    return ReportedMetric(value, low, high, "" if value is not None else reason_for(metrics, key))


def read_group_auc(metrics: Mapping[str, Any], table: str, name: str) -> ReportedMetric:
    """Read the AUC of a row of a per-type, per-source or per-modality table: `{"n", "auc": number or mapping, ...}`."""
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
    """Labelled and scored clips of a split.

    Attributes:
        target: (N,) 1 = fake, 0 = real.
        rank: (N,) values that AUC, ROC and DET rank by: the logit, or the score if the file has no logit.
        score: (N,) calibrated probability of fake in [0, 1]; NaN if the file has none.
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
        """Whether both classes are present, as ROC and DET require."""
        return self.n_fake > 0 and self.n_real > 0


def numeric_column(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return column `name` as float64, with NaN for values that are absent, not numeric or not finite."""
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def scored_rows(frame: pd.DataFrame | None) -> Scored:
    """Select the rows of `frame` with a target in {0, 1} and a finite logit (or score)."""
    if frame is None:
        empty = np.empty(0)
        return Scored(empty.astype(int), empty, empty)
    target, score, rank = (numeric_column(frame, name) for name in ("target", "score", "logit"))
    if np.isnan(rank).all():
        rank = score
    keep = np.isin(target, (0.0, 1.0)) & ~np.isnan(rank)
    return Scored(target[keep].astype(int), rank[keep], score[keep])
