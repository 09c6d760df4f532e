"""The report about clips that nobody labelled: what each was scored, who said so, and how far such a score can be trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from engine.report.bars import evidence_bar, score_bar
from engine.report.build import Figure, page, provenance_rows, versions_of
from engine.report.inputs import number, numeric_column, read_metric
from engine.report.score_charts import unlabelled_chart
from engine.report.text import csv_uri, fixed, percent, plural, writable
from utils.files import write_text_atomic
from utils.metrics import Calibration

MAX_CLIPS = 500
"""Rows on the page; the download has all."""

LEAST_SCALE = 1.0
"""Evidence bars reach at least so far, in log-odds: small differences should look small."""


@dataclass(frozen=True)
class ScreeningInputs:
    """What a screening report is made from.

    Attributes:
        scores: one row per clip with `video, score, logit, verdict, status, reason` and evidence columns.
        evidence_prefix: how the names of the evidence columns begin.
        calibration: turned the logits into scores.
        measured: split -> figures that the checkpoint was measured with, see `utils.metrics.summarise`.
        provenance: command, commit, versions, checkpoint, ...
    """

    scores: pd.DataFrame
    evidence_prefix: str
    calibration: Calibration
    measured: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class ScreenedClip:
    """One row of the table; `evidence` has a bar per term, empty where the term has no figure."""

    name: str
    verdict: str
    score: float | None
    bar: Markup
    evidence: Sequence[Markup]
    note: str


def write_screening_report(path: str | Path, inputs: ScreeningInputs) -> Path:
    """Write the report as one HTML file, atomically; returns its path."""
    return write_text_atomic(Path(path), writable(page("screening.html.j2", screening_context(inputs))))


def screening_context(inputs: ScreeningInputs) -> dict[str, Any]:
    """What the template shows."""
    table, calibration = inputs.scores, inputs.calibration
    prefix = inputs.evidence_prefix
    terms = [name.removeprefix(prefix) for name in map(str, table) if name.startswith(prefix)]
    order = np.argsort(-numeric_column(table, "score"), kind="stable")  # NaN, the unscored ones, sort last
    ranked = table.iloc[order].reset_index(drop=True)
    counts = {verdict: int((table["verdict"] == verdict).sum()) for verdict in ("fake", "real", "unscored")}
    return {
        "n": len(table),
        "counts": counts,
        "figures": list(_figures(table, counts, calibration)),
        "chart": unlabelled_chart(numeric_column(table, "score"), calibration.threshold),
        "cautions": list(_cautions(inputs, counts)),
        "terms": terms,
        "clips": list(_clips(ranked.head(MAX_CLIPS), prefix, terms, calibration.threshold)),
        "csv": csv_uri(list(map(str, ranked)), ranked.itertuples(index=False)),
        "provenance": list(provenance_rows(inputs.provenance)),
        "command": str(inputs.provenance.get("command") or ""),
        "versions": versions_of(inputs.provenance),
    }


def _figures(table: pd.DataFrame, counts: Mapping[str, int], calibration: Calibration) -> Iterator[Figure]:
    scores = numeric_column(table, "score")
    known = scores[~np.isnan(scores)]
    yield Figure(
        "Called real", str(counts["real"]), "no evidence above the threshold, which is no proof of authenticity"
    )
    yield Figure("Not scored", str(counts["unscored"]), "neither cleared nor accused; the reason stands in the table")
    yield Figure("Threshold on the score", fixed(calibration.threshold), threshold_words(calibration))
    yield Figure("Median score", fixed(float(np.median(known))) if len(known) else fixed(None))
    yield Figure("Highest score", fixed(float(known.max())) if len(known) else fixed(None))
    yield Figure("Lowest score", fixed(float(known.min())) if len(known) else fixed(None))


def threshold_words(calibration: Calibration) -> str:
    """How the threshold came about."""
    if calibration.threshold_rule == "target_fpr":
        return f"meant to call at most {percent(calibration.target_fpr)} of real clips fake"
    if calibration.threshold_rule == "default":
        return "not fitted to any data"
    return "where it told labelled clips apart best"


def _cautions(inputs: ScreeningInputs, counts: Mapping[str, int]) -> Iterator[str]:
    """What a reader has to know before acting on a score."""
    yield (
        "A score is an opinion of a model, calibrated on its makers' clips; it proves nothing about a single clip. Look at "
        "what each evidence bar says, and have a person decide."
    )
    for split, metrics in inputs.measured.items():
        within, overall = read_metric(metrics, "same_source"), read_metric(metrics, "auc")
        size = number(metrics.get("n"))
        if overall.value is None:
            continue
        words = (
            f"On {plural(int(size), 'clip')} ({split.replace('_', ' ')})" if size else f"On {split.replace('_', ' ')}"
        )
        words += f" it ranked fakes above real clips with AUC {_limits(overall)} over all"
        if within.value is not None:
            words += f", {_limits(within)} among clips of one source"
        yield words + "; 0.5 is chance. On other publishers' clips and newer generators it can be worse."
    if not inputs.measured:
        yield "The checkpoint holds no measured figure, so nothing is known about how often it is right."
    if not inputs.calibration.is_fitted:
        yield "The scores are not calibrated: read their order, not their size."
    elif inputs.calibration.reason:
        yield f"Of the calibration: {inputs.calibration.reason}."
    if counts["unscored"]:
        yield f"{plural(counts['unscored'], 'clip')} could not be judged. That says nothing for or against them."


def _limits(found: Any) -> str:
    interval = f" [{fixed(found.low)}, {fixed(found.high)}]" if found.has_interval else ""
    return f"{fixed(found.value)}{interval}"


def _clips(table: pd.DataFrame, prefix: str, labels: Sequence[str], threshold: float) -> Iterator[ScreenedClip]:
    values = {label: numeric_column(table, f"{prefix}{label}") for label in labels}
    largest = [np.abs(value[np.isfinite(value)]).max() for value in values.values() if np.isfinite(value).any()]
    scale = max([LEAST_SCALE, *largest])
    for row, (name, clip) in enumerate(
        zip(short_names(table["video"].tolist()), table.to_dict("records"), strict=True)
    ):
        score = number(clip["score"])
        bars = [evidence_bar(number(column[row]), scale, label) for label, column in values.items()]
        said = [str(clip[key]) for key in ("status", "reason") if clip[key] and clip[key] != "ok"]
        absent = [label for label, column in values.items() if score is not None and np.isnan(column[row])]
        note = ", ".join([*said, *(f"not judged by {label}" for label in absent)])
        yield ScreenedClip(name, str(clip["verdict"]), score, score_bar(score, threshold), bars, note)


def short_names(paths: Sequence[str]) -> list[str]:
    """The paths less the folder that all of them share."""
    folders = [os.path.dirname(path) for path in paths]
    absolute = {os.path.isabs(folder) for folder in folders}
    if len(absolute) != 1 or not all(folders):
        return list(paths)
    shared = os.path.commonpath(folders)
    return [os.path.relpath(path, shared) for path in paths]
