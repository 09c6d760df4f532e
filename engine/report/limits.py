"""Limitations of an evaluation, as sentences derived from its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from engine.report.inputs import (
    ReportedMetric,
    ReportInputs,
    Scored,
    number,
    numeric_column,
    read_group_auc,
    read_metric,
    scored_rows,
)
from engine.report.text import count, fixed, percent, plural, visible
from utils.metrics.ranking import resolves_rate

FEW_CLIPS = 50
BLIND_AUC = 0.6
IN_DOMAIN_AUC = 0.99
COVERAGE_GAP = 0.05


def limits(inputs: ReportInputs) -> list[str]:
    """Return the limitations of this evaluation as plain text, the most serious first."""
    split = inputs.headline_split
    metrics = inputs.metrics.get(split, {})
    scored = scored_rows(inputs.predictions.get(split))
    auc = read_metric(metrics, "auc")
    found: list[str] = []
    found += _about_training_clips(metrics)
    found += _about_weights(inputs, metrics)
    found += _about_size(metrics, scored, auc, known=split in inputs.predictions)
    found += _about_coverage(metrics)
    found += _about_blind_spots(metrics)
    found += _about_sources(inputs, split)
    found += _about_shortcuts(inputs, auc)
    found += _about_selection(inputs, metrics, auc)
    return found


def initialisation(inputs: ReportInputs) -> str:
    """Return how the weights were initialised, from the metrics or the provenance; empty if neither records it."""
    metrics = inputs.metrics.get(inputs.headline_split, {})
    value = metrics.get("initialisation") or inputs.provenance.get("initialisation") or ""
    return str(value)


def starts_random(inputs: ReportInputs) -> bool:
    """Return whether the model was trained from random weights."""
    return "random" in initialisation(inputs).lower() or "scratch" in initialisation(inputs).lower()


def _about_training_clips(metrics: Mapping[str, Any]) -> Iterator[str]:
    seen, total = number(metrics.get("n_seen_in_training")), number(metrics.get("n"))
    if seen:
        yield f"The model was trained on {count(seen)} of the {count(total)} evaluated clips, which inflates its figures."


def _about_weights(inputs: ReportInputs, metrics: Mapping[str, Any]) -> Iterator[str]:
    if starts_random(inputs):
        yield (
            "The model was trained from random weights instead of pretrained ones. The published system "
            "starts from ImageNet weights, so its figures are not comparable with this one."
        )


def _about_size(metrics: Mapping[str, Any], scored: Scored, auc: ReportedMetric, *, known: bool) -> Iterator[str]:
    total = scored.n_fake + scored.n_real
    if auc.value is None:
        yield f"There is no AUC: {auc.reason}."
    if known and not scored.has_both:
        if total:
            present = "fake" if scored.n_fake else "real"
            yield f"Only {present} clips were scored, so the result does not show whether the model separates the classes."
        else:
            yield "No clip with a target was scored, so the model's accuracy is unknown."
    notes = metrics.get("notes")
    if isinstance(notes, Mapping) and notes.get("auc"):
        yield f"Interval of the AUC: {visible(notes['auc'], 200)}."
    if auc.low is not None and auc.high is not None and auc.low <= 0.5 <= auc.high:
        yield (
            f"The interval ({fixed(auc.low)} to {fixed(auc.high)}) includes 0.5: this result does not show that the "
            "model is better than chance."
        )
    if not scored.has_both:
        return
    if min(scored.n_fake, scored.n_real) < FEW_CLIPS:
        yield (
            f"With {plural(scored.n_fake, 'fake')} and {plural(scored.n_real, 'real clip')} the figures depend "
            "strongly on single clips; rely on the intervals, not on the point estimates."
        )
    unresolved = [rate for rate in (0.01, 0.005, 0.001) if not resolves_rate(scored.n_real, rate)]
    if unresolved:
        *others, lowest = (percent(rate) for rate in unresolved)
        rates = f"{', '.join(others)} or {lowest}" if others else lowest
        yield (
            f"{plural(scored.n_real, 'real clip')} cannot resolve the detection rate at a false positive rate of {rates}: "
            f"a single false alarm is a rate of {percent(1 / scored.n_real)}. "
            f"At least {count(1 / min(unresolved))} real clips are needed."
        )


def _about_coverage(metrics: Mapping[str, Any]) -> Iterator[str]:
    coverage = number(metrics.get("coverage"))
    if coverage is not None and coverage < 1:
        yield (
            f"Only {percent(coverage)} of the clips were scored. The AUC does not cover the others, which may be "
            "harder."
        )
    by_class = metrics.get("coverage_by_class")
    fake, real = (number(by_class.get(key)) if isinstance(by_class, Mapping) else None for key in ("fake", "real"))
    if fake is not None and real is not None and abs(fake - real) > COVERAGE_GAP:
        yield (
            f"{percent(fake)} of the fakes and {percent(real)} of the real clips were scored. Whether a clip can be scored "
            "depends on its class, so the AUC over scored clips is biased."
        )
    if metrics.get("in_sample"):
        yield (
            "Threshold and calibration were fitted on this split. Its threshold metrics and ECE are cross-fitted, "
            "but only another split can confirm them."
        )


def _about_blind_spots(metrics: Mapping[str, Any]) -> Iterator[str]:
    types = metrics.get("per_type")
    if not isinstance(types, Mapping):
        return
    weak = {str(name): read_group_auc(metrics, "per_type", name).value for name in types}
    blind = sorted((value, name) for name, value in weak.items() if value is not None and value < BLIND_AUC)
    if blind:
        named = ", ".join(f"{visible(name, 60)} ({fixed(value, 2)})" for value, name in blind[:6])
        more = f" and {len(blind) - 6} more" if len(blind) > 6 else ""
        yield f"The model detects these types poorly or not at all: {named}{more}. The overall AUC does not apply to them."


def _about_sources(inputs: ReportInputs, split: str) -> Iterator[str]:
    frame = inputs.predictions.get(split)
    if frame is None or frame.empty:
        return
    if "source" not in frame.columns or frame["source"].dropna().empty:
        yield "The labels have no source column, so the model may recognise the source instead of the forgery."
        return
    names = frame["source"].dropna().astype(str)
    if names.nunique() == 1:
        only = visible(names.iloc[0], 60)
        yield f"All clips come from one source ({only}); performance on other sources is unknown."
        return
    target = pd.Series(numeric_column(frame, "target"), index=frame.index)[names.index]
    if target.groupby(names).nunique().max() == 1:
        yield (
            "Every source has only fakes or only reals, so a model that recognises sources would score as well as "
            "one that detects forgeries."
        )


def _about_shortcuts(inputs: ReportInputs, auc: ReportedMetric) -> Iterator[str]:
    if inputs.audit is None:
        yield "The shortcut audit was not run, so the AUC that is possible without looking at the forgery is unknown."
    else:
        rows = [(number(row.get("auc")), number(row.get("low")), str(row.get("probe", ""))) for row in inputs.audit]
        above = [(value, name) for value, low, name in rows if value is not None and low is not None and low > 0.5]
        if above:
            value, name = max(above)
            yield (
                f"The probe \u201c{visible(name, 60)}\u201d reaches AUC {fixed(value)} without looking at the forgery"
                + ("; the model's own AUC is no better." if auc.value is not None and value >= auc.value else ".")
            )
    if auc.value is not None and auc.value > IN_DOMAIN_AUC:
        yield (
            "An AUC above 0.99 often results from a shortcut in the data set; models with such an AUC have dropped to 0.65 "
            "on a hidden test set. Check the audit, and test on clips from another source."
        )
    if inputs.robustness is None:
        yield "The robustness suite was not run, so the effect of re-encoding, scaling and noise is unknown."


def _about_selection(inputs: ReportInputs, metrics: Mapping[str, Any], auc: ReportedMetric) -> Iterator[str]:
    split = inputs.headline_split
    if inputs.history and split.lower().startswith("val"):
        yield (
            f"The best epoch was chosen on this split ({visible(split, 40)}), so its AUC is optimistic. "
            "Evaluate on a test split."
        )
    for name, other in inputs.metrics.items():
        value = read_metric(other, "auc").value
        if name != split and value is not None and auc.high is not None and value > auc.high:
            yield (
                f"The AUC on {visible(name, 40)} ({fixed(value)}) is above this split's interval: "
                "the model performs worse on this split."
            )
