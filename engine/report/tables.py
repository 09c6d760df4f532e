"""Tables of the report: AUC per group, coverage, worst errors, audit probes and robustness grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from engine.report.bars import auc_bar
from engine.report.inputs import LABEL_COLUMNS, ReportedMetric, number, numeric_column, read_group_auc
from engine.report.text import csv_uri, fixed
from engine.report.wording import expert_label

MAX_ROWS = 60
MAX_WRONG = 8
GROUP_TABLES = {
    "per_type": ("Per fake type", "Type", "Each fake type against all real clips."),
    "per_source": (
        "Per source",
        "Source",
        "Fakes against reals of the same source. A source with only one class has no AUC.",
    ),
    "per_modality": ("Per modality", "Modality", "Fakes by manipulated modality, against all real clips."),
}


@dataclass(frozen=True)
class AucRow:
    """One row of an AUC table: name, number of clips, AUC with interval, and bar."""

    name: str
    n: int | None
    auc: ReportedMetric
    bar: Markup


@dataclass(frozen=True)
class AucTable:
    """A table of AUCs per group, with a CSV download. `hidden` is the number of rows not shown on the page."""

    slug: str
    title: str
    column: str
    note: str
    rows: Sequence[AucRow]
    csv: str
    hidden: int = 0


def auc_tables(metrics: Mapping[str, Any]) -> list[AucTable]:
    """Build the per-type, per-source and per-modality tables present in the metrics, worst group first."""
    tables = []
    for key, (title, column, note) in GROUP_TABLES.items():
        groups = metrics.get(key)
        if not isinstance(groups, Mapping) or not groups:
            continue
        estimates = {str(name): read_group_auc(metrics, key, name) for name in groups}
        sizes = {str(name): _size(entry) for name, entry in groups.items()}
        worst_first = {name: (auc.value is None, auc.value or 0.0, name) for name, auc in estimates.items()}
        ordered = sorted(estimates, key=worst_first.__getitem__)
        rows = [AucRow(name, sizes[name], estimates[name], auc_bar(estimates[name], name)) for name in ordered]
        csv = csv_uri(
            (column.lower(), "n", "auc", "low", "high", "reason"),
            ((row.name, row.n, row.auc.value, row.auc.low, row.auc.high, row.auc.reason) for row in rows),
        )
        slug = key.replace("_", "-")
        tables.append(AucTable(slug, title, column, note, rows[:MAX_ROWS], csv, max(len(rows) - MAX_ROWS, 0)))
    return tables


def _size(entry: object) -> int | None:
    if not isinstance(entry, Mapping):
        return None
    names = ("n",) if "n" in entry else ("n_real", "n_fake")
    sizes = [size for name in names if (size := number(entry.get(name))) is not None]
    return int(sum(sizes)) if len(sizes) == len(names) else None


@dataclass(frozen=True)
class CoverageRow:
    """Number of clips with a status and reason, and how many of them have a score."""

    status: str
    reason: str
    n: int
    scored: int


def coverage_rows(frame: pd.DataFrame | None) -> list[CoverageRow]:
    """Count the clips by status and reason, most frequent first."""
    if frame is None or frame.empty:
        return []
    names = {name: _text_column(frame, name) for name in ("status", "reason")}
    scored = ~np.isnan(numeric_column(frame, "score")) | ~np.isnan(numeric_column(frame, "logit"))
    grouped = pd.DataFrame({**names, "scored": scored}).groupby(["status", "reason"])["scored"].agg(["size", "sum"])
    rows = [
        CoverageRow(str(status), str(reason), int(size), int(n_scored))
        for (status, reason), size, n_scored in grouped.itertuples(name=None)
    ]
    return sorted(rows, key=lambda row: -row.n)


def _text_column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame.columns:
        return pd.Series("", index=frame.index)
    return frame[name].astype(object).where(frame[name].notna(), "").astype(str)


@dataclass(frozen=True)
class WrongClip:
    """A misclassified clip. `evidence` contains (head, formatted value) pairs."""

    name: str
    about: str
    score: float | None
    logit: float | None
    evidence: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class WrongClips:
    """Errors of one kind: their total number, the most confident ones, and a CSV download of these."""

    total: int
    clips: Sequence[WrongClip]
    csv: str


def evidence_columns(frame: pd.DataFrame, named: Iterable[str] = ()) -> list[str]:
    """Return the evidence columns: those in `named` that exist, otherwise every numeric column that is not a label."""
    named = [name for name in named if name in frame.columns]
    if named:
        return named
    return [
        name
        for name in frame.columns
        if str(name).lower() not in LABEL_COLUMNS and np.isfinite(numeric_column(frame, name)).any()
    ]


def wrong_clips(
    frame: pd.DataFrame, threshold: float, evidence: Sequence[str], real_threshold: float | None = None
) -> tuple[WrongClips, WrongClips]:
    """Return the misclassified clips, most confident errors first.

    Args:
        frame: The predictions.
        threshold: Score from which a clip is called fake.
        evidence: Names of the evidence columns to show.
        real_threshold: Score below which a clip is called real; `None` if it equals `threshold`.

    Returns:
        The fakes called real, and the real clips called fake.
    """
    target, score = numeric_column(frame, "target"), numeric_column(frame, "score")
    logit = numeric_column(frame, "logit")
    order = np.where(np.isnan(logit), score, logit)
    missed = np.flatnonzero((target == 1) & (score < (threshold if real_threshold is None else real_threshold)))
    alarms = np.flatnonzero((target == 0) & (score >= threshold))
    missed = missed[np.argsort(order[missed], kind="stable")]
    alarms = alarms[np.argsort(-order[alarms], kind="stable")]
    return _wrong(frame, missed, evidence), _wrong(frame, alarms, evidence)


def _wrong(frame: pd.DataFrame, positions: np.ndarray, evidence: Sequence[str]) -> WrongClips:
    shown = frame.iloc[positions[:MAX_WRONG]]
    values = {name: numeric_column(shown, name) for name in ("score", "logit", *evidence)}
    about = [_text_column(shown, name).tolist() for name in ("type", "source", "reason")]
    clips = []
    for index, name in enumerate(_text_column(shown, "video_name")):
        words = " · ".join(column[index] for column in about if column[index])
        heads = [
            (expert_label(head.removeprefix("evidence_")), fixed(values[head][index], 2))
            for head in evidence
            if np.isfinite(values[head][index])
        ]
        clips.append(WrongClip(name, words, number(values["score"][index]), number(values["logit"][index]), heads))
    data = (
        (clip.name, clip.about, clip.score, clip.logit, *(values[head][index] for head in evidence))
        for index, clip in enumerate(clips)
    )
    return WrongClips(len(positions), clips, csv_uri(("video_name", "about", "score", "logit", *evidence), data))


@dataclass(frozen=True)
class Probe:
    """One probe of the shortcut audit, with its bar."""

    name: str
    auc: ReportedMetric
    bar: Markup
    finding: str
    mitigation: str


def audit_probes(audit: Sequence[Mapping[str, Any]]) -> list[Probe]:
    """Convert the audit rows to probes, highest AUC first."""
    probes = []
    for row in audit:
        name = str(row.get("probe", ""))
        auc = ReportedMetric(number(row.get("auc")), number(row.get("low")), number(row.get("high")), "not computed")
        probes.append(Probe(name, auc, auc_bar(auc, name), str(row.get("verdict") or ""), str(row.get("remedy") or "")))
    return sorted(probes, key=lambda probe: -(probe.auc.value if probe.auc.value is not None else -1.0))


def audit_csv(audit: Sequence[Mapping[str, Any]]) -> str:
    """Return the audit rows as a CSV download."""
    names = ("probe", "auc", "low", "high", "verdict", "remedy")
    return csv_uri(names, ([row.get(name) for name in names] for row in audit))


@dataclass(frozen=True)
class Cell:
    """One cell of the robustness heat map. `shade` is 0 for an AUC of 0.5 or below and 1 for an AUC of 1."""

    auc: ReportedMetric
    coverage: float | None
    shade: float


@dataclass(frozen=True)
class RobustnessGrid:
    """Robustness results by family and severity; a cell that was not run is None."""

    severities: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None], float | None]]
    mean_drop: float | None
    csv: str


def robustness_grid(frame: pd.DataFrame, clean_auc: float | None) -> RobustnessGrid:
    """Arrange the results with families in file order and severities ascending; each row ends with its mean AUC drop.

    The drop is relative to the unaltered clips (family `none`, severity 0) if the table has that row, otherwise to
    `clean_auc`. Rows of severity 0 are baselines; they appear in the download but not in the grid.
    """
    csv = csv_uri([str(name) for name in frame.columns], frame.itertuples(index=False))
    severity = pd.to_numeric(frame["severity"], errors="coerce")
    untouched = numeric_column(frame[(severity == 0) & (frame["family"] == "none")], "auc")
    if len(untouched) and number(untouched[0]) is not None:
        clean_auc = float(untouched[0])
    frame, severity = frame[severity != 0].reset_index(drop=True), severity[severity != 0]
    labels = frame["severity"].astype(str)
    columns = list(dict.fromkeys(labels.iloc[np.argsort(severity.to_numpy(), kind="stable")]))
    families = list(dict.fromkeys(frame["family"].astype(str)))
    values = {name: numeric_column(frame, name) for name in ("auc", "low", "high", "coverage")}
    cells: dict[tuple[str, str], Cell] = {}
    for index, key in enumerate(zip(frame["family"].astype(str), labels, strict=True)):
        auc, low, high, coverage = (number(values[name][index]) for name in ("auc", "low", "high", "coverage"))
        shade = 0.0 if auc is None else min(max((auc - 0.5) * 2, 0.0), 1.0)
        cells[key] = Cell(ReportedMetric(auc, low, high, "not computed"), coverage, shade)
    rows = []
    for family in families:
        row = [cells.get((family, column)) for column in columns]
        rows.append((family, row, _mean_drop([cell for cell in row if cell], clean_auc)))
    return RobustnessGrid(columns, rows, _mean_drop(list(cells.values()), clean_auc), csv)


def _mean_drop(cells: Sequence[Cell], clean_auc: float | None) -> float | None:
    drops = [clean_auc - cell.auc.value for cell in cells if clean_auc is not None and cell.auc.value is not None]
    return float(np.mean(drops)) if drops else None
