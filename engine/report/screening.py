"""Screening report for clips without labels: scores, evidence per expert, and the reliability of the scores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from engine.report.wording import expert_label
from utils.files import write_text_atomic
from utils.metrics import Calibration
from utils.metrics.threshold_text import fake_rule, fakes_measured, real_rule, where_measured

MAX_CLIPS = 500
"""Maximum number of rows on the page; the download has all rows."""

LEAST_SCALE = 1.0
"""Minimum scale of the evidence bars, in log-odds; it keeps small differences small."""


VERDICTS = ("fake", "inconclusive", "real", "unscored")


@dataclass(frozen=True)
class ScreeningInputs:
    """Content of a screening report.

    Attributes:
        scores: One row per clip with `video, score, logit, verdict, status, reason` and evidence columns.
        evidence_prefix: Prefix of the names of evidence columns.
        calibration: Calibration that the scores were computed with.
        measured: Split -> metrics stored in the checkpoint, as returned by `utils.metrics.summarise`.
        provenance: Command, commit, versions, checkpoint and so on.
        link: Path of a clip as in `scores` -> relative address of its page; empty if there is none.
    """

    scores: pd.DataFrame
    evidence_prefix: str
    calibration: Calibration
    measured: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any]
    link: Callable[[str], str] = lambda video: ""


@dataclass(frozen=True)
class ScreenedClip:
    """One row of the table.

    `evidence` has one bar per expert, empty if the expert abstained. `link` is the address of the clip's page.
    """

    name: str
    link: str
    verdict: str
    score: float | None
    bar: Markup
    evidence: Sequence[Markup]
    note: str


def write_screening_report(path: str | Path, inputs: ScreeningInputs) -> Path:
    """Write the report atomically as one HTML file and return its path."""
    return write_text_atomic(Path(path), writable(page("screening.html.j2", screening_context(inputs))))


def screening_context(inputs: ScreeningInputs) -> dict[str, Any]:
    """Return the variables of the template."""
    table, calibration = inputs.scores, inputs.calibration
    prefix = inputs.evidence_prefix
    terms = [name.removeprefix(prefix) for name in map(str, table) if name.startswith(prefix)]
    order = np.argsort(-numeric_column(table, "score"), kind="stable")  # unscored clips (NaN) sort last
    ranked = table.iloc[order].reset_index(drop=True)
    counts = {verdict: int((table["verdict"] == verdict).sum()) for verdict in VERDICTS}
    return {
        "n": len(table),
        "counts": counts,
        "figures": list(_figures(table, counts, calibration)),
        "chart": unlabelled_chart(numeric_column(table, "score"), calibration),
        "cautions": list(_cautions(inputs, counts)),
        "terms": terms,
        "labels": [expert_label(term) for term in terms],
        "clips": list(_clips(ranked.head(MAX_CLIPS), prefix, terms, inputs)),
        "csv": csv_uri(list(map(str, ranked)), ranked.itertuples(index=False)),
        "provenance": list(provenance_rows(inputs.provenance)),
        "command": str(inputs.provenance.get("command") or ""),
        "versions": versions_of(inputs.provenance),
    }


def _figures(table: pd.DataFrame, counts: Mapping[str, int], calibration: Calibration) -> Iterator[Figure]:
    scores = numeric_column(table, "score")
    known = scores[~np.isnan(scores)]
    two = calibration.real_threshold is not None and calibration.real_threshold < calibration.threshold
    below = "the real threshold" if two else "the threshold"
    yield Figure("Called real", str(counts["real"]), f"score below {below}, which does not prove authenticity")
    if two or counts["inconclusive"]:
        yield Figure("Inconclusive", str(counts["inconclusive"]), "score between the thresholds: neither real nor fake")
    yield Figure("Not scored", str(counts["unscored"]), "no verdict; the table gives the reason")
    rates = calibration.rates
    measured = "" if rates is None else f"; {percent(rates.false_alarms)} {where_measured(calibration)}"
    name = "Fake threshold on the score" if two else "Threshold on the score"
    yield Figure(name, fixed(calibration.threshold), _unbroken(fake_rule(calibration)) + measured)
    if two:
        missed = "" if rates is None else f"; {percent(rates.missed)} {where_measured(calibration)}"
        yield Figure(
            "Real threshold on the score", fixed(calibration.real_threshold), _unbroken(real_rule(calibration)) + missed
        )
    yield Figure("Median score", fixed(float(np.median(known))) if len(known) else fixed(None))
    yield Figure("Highest score", fixed(float(known.max())) if len(known) else fixed(None))
    yield Figure("Lowest score", fixed(float(known.min())) if len(known) else fixed(None))


def _unbroken(text: str) -> str:
    """Return the text with no-break spaces before percent signs."""
    return text.replace(" %", "\u00a0%")


def _cautions(inputs: ScreeningInputs, counts: Mapping[str, int]) -> Iterator[str]:
    """Yield the cautions that apply to these scores."""
    yield (
        "A score is a model's estimate, calibrated on its developers' clips; it proves nothing about a single clip. "
        "Check the evidence bars, and let a person decide."
    )
    for split, metrics in inputs.measured.items():
        within, overall = read_metric(metrics, "same_source"), read_metric(metrics, "auc")
        size = number(metrics.get("n"))
        if overall.value is None:
            continue
        words = (
            f"On {plural(int(size), 'clip')} ({split.replace('_', ' ')})" if size else f"On {split.replace('_', ' ')}"
        )
        words += f", the AUC was {_limits(overall)} over all clips"
        if within.value is not None:
            words += f" and {_limits(within)} within sources"
        yield words + "; 0.5 is chance. Clips from other sources and newer generators can give worse results."
    if not inputs.measured:
        yield "The checkpoint contains no metrics, so its error rate is unknown."
    if not inputs.calibration.is_fitted:
        yield "The scores are not calibrated: only their order is meaningful, not their values."
    elif inputs.calibration.reason:
        yield f"Calibration: {inputs.calibration.reason}."
    rates = inputs.calibration.rates
    if rates is not None:
        yield (
            f"Error rates of the verdicts, measured {where_measured(inputs.calibration)}: "
            f"{percent(rates.false_alarms)} of {plural(rates.n_real, 'real clip')} called fake, "
            f"{percent(rates.missed)} of {fakes_measured(inputs.calibration)} called real, inconclusive "
            f"{percent(rates.inconclusive_real)} of the real clips and {percent(rates.inconclusive_fake)} of the fakes."
        )
    if counts["unscored"]:
        yield f"{plural(counts['unscored'], 'clip')} could not be scored and may be real or fake."


def _limits(found: Any) -> str:
    interval = f" [{fixed(found.low)}, {fixed(found.high)}]" if found.has_interval else ""
    return f"{fixed(found.value)}{interval}"


def _clips(table: pd.DataFrame, prefix: str, labels: Sequence[str], inputs: ScreeningInputs) -> Iterator[ScreenedClip]:
    values = {label: numeric_column(table, f"{prefix}{label}") for label in labels}
    largest = [np.abs(value[np.isfinite(value)]).max() for value in values.values() if np.isfinite(value).any()]
    scale = max([LEAST_SCALE, *largest])
    for row, (name, clip) in enumerate(
        zip(short_names(table["video"].tolist()), table.to_dict("records"), strict=True)
    ):
        score = number(clip["score"])
        bars = [evidence_bar(number(column[row]), scale, label) for label, column in values.items()]
        codes = [str(clip[key]) for key in ("status", "reason") if clip[key] and clip[key] != "ok"]
        absent = [label for label, column in values.items() if score is not None and np.isnan(column[row])]
        note = ", ".join([*codes, *(f"no score from {label}" for label in absent)])
        link = inputs.link(str(clip["video"]))
        yield ScreenedClip(name, link, str(clip["verdict"]), score, score_bar(score, inputs.calibration), bars, note)


def short_names(paths: Sequence[str]) -> list[str]:
    """Return the paths relative to their common folder."""
    folders = [os.path.dirname(path) for path in paths]
    absolute = {os.path.isabs(folder) for folder in folders}
    if len(absolute) != 1 or not all(folders):
        return list(paths)
    shared = os.path.commonpath(folders)
    return [os.path.relpath(path, shared) for path in paths]
