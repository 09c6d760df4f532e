"""Assembly and writing of the evaluation report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from engine.report import bars, history_charts, limits, ranking_charts, score_charts, tables
from engine.report.inputs import ReportedMetric, ReportInputs, number, read_group_auc, read_metric, scored_rows
from engine.report.text import count, fixed, isolate, percent, plural, visible, writable
from engine.report.times import moment
from utils.files import write_text_atomic

AUDIT_COMMAND = "python utils/audit_dataset.py --labels FILE --video_dir DIR"
ROBUSTNESS_COMMAND = "python utils/robustness.py --checkpoint CKPT --labels FILE --video_dir DIR"
_OWN_PROVENANCE = ("command", "config_yaml", "versions", "initialisation")


@dataclass(frozen=True)
class Figure:
    """A secondary metric: a label, a formatted value, and a note (the reason, if there is no value)."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class SplitRow:
    """One row of the table that compares the splits."""

    name: str
    n: int | None
    n_fake: int | None
    n_real: int | None
    coverage: float | None
    auc: ReportedMetric
    eer: ReportedMetric
    bar: Any


def write_report(path: str | Path, inputs: ReportInputs) -> Path:
    """Write the report as one HTML file, atomically.

    Args:
        path: File to write; its folder is created if needed.
        inputs: Content. Missing parts are reported as missing; metrics that are null or NaN show their reason.

    Returns:
        The path written.
    """
    return write_text_atomic(Path(path), writable(render_report(inputs)))


def render_report(inputs: ReportInputs) -> str:
    """Render the report as HTML."""
    return page("template.html.j2", _context(inputs))


def page(template: str, context: Mapping[str, Any]) -> str:
    """Render a template of this folder."""
    environment = Environment(
        loader=PackageLoader("engine.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        fixed=fixed, percent=percent, count=count, isolate=isolate, visible=visible, plural=plural
    )
    return environment.get_template(template).render(**context)


def _context(inputs: ReportInputs) -> dict[str, Any]:
    split = inputs.headline_split
    metrics = inputs.metrics.get(split, {})
    frame = inputs.predictions.get(split)
    scored = scored_rows(frame)
    auc = read_metric(metrics, "auc")
    threshold, real_threshold = number(metrics.get("threshold")), _real_threshold(metrics)
    other = ranking_charts.comparison_curve(inputs.predictions, split)
    name = visible(split, 24)
    evidence = tables.evidence_columns(frame, inputs.evidence_columns) if frame is not None else []
    fake_from = 0.5 if threshold is None else threshold
    wrong = None if frame is None else tables.wrong_clips(frame, fake_from, evidence, real_threshold)
    return {
        "title": inputs.title,
        "subtitle": list(_subtitle(inputs)),
        "split": split,
        "has_predictions": frame is not None,
        "scored": scored,
        "auc": auc,
        "auc_bar": bars.headline_bar(auc),
        "coverage": number(metrics.get("coverage")),
        "n": number(metrics.get("n")),
        "random_start": limits.starts_random(inputs),
        "initialisation": limits.initialisation(inputs),
        "in_sample": bool(metrics.get("in_sample")),
        "threshold": threshold,
        "real_threshold": real_threshold,
        "figures": list(_figures(metrics)),
        "splits": [_split_row(inputs, key) for key in inputs.metrics],
        "ranking": [
            ranking_charts.roc_chart(scored, name, other),
            ranking_charts.low_fpr_chart(scored, name, other),
            ranking_charts.det_chart(scored, name, other, read_metric(metrics, "eer")),
        ],
        "scores": [
            score_charts.score_chart(scored, threshold, name, real_threshold),
            score_charts.reliability_chart(metrics, scored, read_metric(metrics, "ece"), name),
        ],
        "history": history_charts.history_charts(inputs.history),
        "groups": tables.auc_tables(metrics),
        "coverage_rows": tables.coverage_rows(frame),
        "policies": list(_policies(metrics)),
        "wrong": wrong,
        "audit": None if inputs.audit is None else tables.audit_probes(inputs.audit),
        "audit_csv": tables.audit_csv(inputs.audit or []),
        "robustness": None if inputs.robustness is None else tables.robustness_grid(inputs.robustness, auc.value),
        "leakage": None if inputs.leakage is None else list(_leakage(inputs.leakage)),
        "limits": limits.limits(inputs),
        "provenance": list(provenance_rows(inputs.provenance)),
        "command": str(inputs.provenance.get("command") or ""),
        "config_yaml": str(inputs.provenance.get("config_yaml") or ""),
        "versions": versions_of(inputs.provenance),
        "audit_command": AUDIT_COMMAND,
        "robustness_command": ROBUSTNESS_COMMAND,
    }


def _subtitle(inputs: ReportInputs) -> Iterator[str]:
    """Yield the parts of the subtitle: evaluated split, checkpoint, commit, time."""
    facts = inputs.provenance
    if inputs.headline_split:
        yield f"evaluated on {inputs.headline_split}"
    if facts.get("checkpoint"):
        yield str(facts["checkpoint"])
    if facts.get("commit"):
        yield f"commit {str(facts['commit'])[:12]}" + (" + changes" if facts.get("dirty") else "")
    if facts.get("finished"):
        yield moment(str(facts["finished"]))


def _figure(metrics: Mapping[str, Any], key: str, label: str, as_percent: bool = False, note: str = "") -> Figure:
    found = read_metric(metrics, key)
    printer = percent if as_percent else fixed
    if found.value is None:
        return Figure(label, printer(None), found.reason)
    interval = f"{printer(found.low)} to {printer(found.high)}" if found.has_interval else ""
    return Figure(label, printer(found.value), "; ".join(part for part in (interval, note) if part))


def _figures(metrics: Mapping[str, Any]) -> Iterator[Figure]:
    cross = "cross-fitted" if metrics.get("in_sample") else ""
    rates = metrics.get("tpr_at_fpr")
    rates = rates if isinstance(rates, Mapping) else {}
    for rate in ("0.01", "0.005", "0.001"):
        found = read_metric(metrics, f"tpr_at_fpr.{rate}", rates.get(rate))
        yield Figure(f"Fakes found at {100 * float(rate):g}\u00a0% false alarms", percent(found.value), found.reason)
    yield _figure(metrics, "eer", "Equal error rate", as_percent=True)
    yield _figure(metrics, "ap", "Average precision")
    yield _figure(metrics, "balanced_accuracy", "Balanced accuracy", as_percent=True, note=cross)
    for key, label, unit in (
        ("same_source", "Same-source AUC", "source"),
        ("auc_by_group", "AUC, with intervals over groups", "group"),
        ("macro_auc", "Mean AUC over fake types", ""),
    ):
        if key in metrics:
            entry = metrics[key]
            units = number(entry.get(f"{unit}s")) if isinstance(entry, Mapping) else None
            yield _figure(metrics, key, label, note=plural(int(units), unit) if units else "")
    yield _figure(metrics, "brier", "Brier score", note=cross)
    yield _figure(metrics, "ece", "Calibration error (ECE)", note=cross)
    rates = metrics.get("at_threshold")
    rates = {name: number(rates.get(name)) for name in ("tpr", "fpr")} if isinstance(rates, Mapping) else {}
    known = None not in rates.values() and rates
    note = f"finds {percent(rates['tpr'])} of fakes, {percent(rates['fpr'])} false alarms" if known else ""
    yield _figure(metrics, "threshold", "Threshold on the score", note="; ".join(filter(None, (note, cross))))
    real_threshold = _real_threshold(metrics)
    if real_threshold is not None:
        thresholds = metrics["thresholds"]
        inconclusive = thresholds.get("inconclusive") or {}
        shares = [percent(inconclusive.get(name)) for name in ("real", "fake")]
        between = f"inconclusive: {shares[0]} of real clips, {shares[1]} of fakes"
        notes = (f"{percent(thresholds.get('missed'))} of fakes called real", between, cross)
        yield Figure("Real threshold on the score", fixed(real_threshold), "; ".join(filter(None, notes)))


def _real_threshold(metrics: Mapping[str, Any]) -> float | None:
    """Return the score below which clips are called real, or None if it equals the fake threshold."""
    thresholds = metrics.get("thresholds")
    real = number(thresholds.get("real")) if isinstance(thresholds, Mapping) else None
    return None if real is None or real == number(metrics.get("threshold")) else real


def _policies(metrics: Mapping[str, Any]) -> Iterator[tuple[str, ReportedMetric]]:
    policies = metrics.get("policies")
    if isinstance(policies, Mapping):
        for name in policies:
            words = {"exclude": "left out (as in the headline)"}.get(name, str(name).replace("-", " "))
            yield words, read_group_auc(metrics, "policies", name)


def _split_row(inputs: ReportInputs, split: str) -> SplitRow:
    metrics = inputs.metrics[split]
    scored = scored_rows(inputs.predictions[split]) if split in inputs.predictions else None
    auc = read_metric(metrics, "auc")
    size = number(metrics.get("n"))
    return SplitRow(
        name=split,
        n=None if size is None else int(size),
        n_fake=scored.n_fake if scored else None,
        n_real=scored.n_real if scored else None,
        coverage=number(metrics.get("coverage")),
        auc=auc,
        eer=read_metric(metrics, "eer"),
        bar=bars.auc_bar(auc, split),
    )


def _leakage(leakage: Mapping[str, Any]) -> Iterator[tuple[str, int | None, list[str]]]:
    """Yield (check, number of matches, first pairs) from entries that are counts or lists of pairs."""
    for name, entry in leakage.items():
        if isinstance(entry, (list, tuple)):
            shown = [" = ".join(map(str, pair)) if isinstance(pair, (list, tuple)) else str(pair) for pair in entry[:5]]
            yield str(name).replace("_", " "), len(entry), shown
        else:
            found = number(entry)
            words = str(name).replace("_", " ")
            yield (words, int(found), []) if found is not None else (words, None, [str(entry)])


def provenance_rows(provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, value) for the provenance list, without entries that are shown separately."""
    commit = provenance.get("commit")
    if commit is not None or "dirty" in provenance:
        words = str(commit or "unknown")
        yield "commit", words + (" + uncommitted changes" if provenance.get("dirty") and words != "unknown" else "")
    for key, value in provenance.items():
        if key in _OWN_PROVENANCE or key in ("commit", "dirty"):
            continue
        label = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            yield label, ", ".join(f"{name}: {entry}" for name, entry in value.items())
        else:
            yield label, moment(str(value)) if value not in (None, "") else "not recorded"


def versions_of(provenance: Mapping[str, Any]) -> str:
    """Format the packages and their versions in one line."""
    versions = provenance.get("versions")
    if isinstance(versions, Mapping):
        return ", ".join(f"{name}\u00a0{version}" for name, version in versions.items())
    return str(versions or "")
