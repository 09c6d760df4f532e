"""Summaries and comparisons as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def format_summary(summary: dict[str, Any]) -> str:
    """Format the output of ``summarise`` as a table; a missing figure shows its reason."""
    blocks = [_headline(summary)]
    for name, title in (("per_type", "type"), ("per_modality", "modality"), ("per_source", "source")):
        if summary[name]:
            blocks.append(_breakdown(title, summary[name], summary["reasons"], name))
    return "\n\n".join(blocks)


def format_comparison(comparison: dict[str, Any]) -> str:
    """Format the output of ``compare`` in two lines."""
    heading = f"A against B on {comparison['n']} clips scored by both ({comparison['n_one_only']} scored by only one)"
    if comparison["p"] is None:
        return f"{heading}\n  no test: {comparison['reason']}"
    limits = f"[{comparison['low']:+.4f}, {comparison['high']:+.4f}]"
    aucs = f"AUC {comparison['auc_a']:.4f} - {comparison['auc_b']:.4f}"
    return f"{heading}\n  {aucs} = {comparison['delta']:+.4f} {limits}, DeLong p = {comparison['p']:.4g}"


def _headline(summary: dict[str, Any]) -> str:
    reasons = summary["reasons"]
    scored = f"{summary['n_scored']} of {summary['n']} clips scored"
    if summary["n_real"] is not None:
        scored += f" ({summary['n_real']} real, {summary['n_fake']} fake)"
    rows = [("coverage", _number(summary["coverage"]), scored)]
    rows += [("unscored", str(count), reason) for reason, count in summary["coverage_reasons"].items()]
    if summary["n_real"] is None:
        return f"{summary['split']}\n{_align(rows)}\n  no metric: {reasons['auc']}"
    for path, title in (("auc", "AUC"), ("auc_by_group", "AUC, by group"), ("same_source", "AUC, same source")):
        figure = summary[path]
        remark = reasons.get(path) or reasons.get(f"{path}.low") or _limits(figure["low"], figure["high"])
        rows.append((title, _number(figure["value"]), remark))
    for fpr, tpr in summary["tpr_at_fpr"].items():
        rows.append((f"TPR at FPR {fpr}", _number(tpr), reasons.get(f"tpr_at_fpr.{fpr}", "")))
    for path, title in (
        ("macro_auc", "AUC, mean over types"),
        ("eer", "EER"),
        ("ap", "average precision"),
        ("threshold", "threshold"),
        ("balanced_accuracy", "balanced accuracy"),
        ("brier", "Brier score"),
        ("ece", "ECE"),
        ("ece_uncalibrated", "ECE, uncalibrated"),
    ):
        rows.append((title, _number(summary[path]), reasons.get(path, "")))
    thresholds = summary["thresholds"]
    if None not in thresholds.values() and thresholds["real"] < thresholds["fake"]:
        inconclusive = thresholds["inconclusive"]
        shares = f"inconclusive: {inconclusive['real']:.4f} of real clips, {inconclusive['fake']:.4f} of fakes"
        rows.append(
            ("real threshold", _number(thresholds["real"]), f"{thresholds['missed']:.4f} of fakes missed, {shares}")
        )
    if summary["coverage"] != 1:
        rows += [
            (f"AUC, unscored {policy}", _number(figure["auc"]), reasons.get(f"policies.{policy}.auc", ""))
            for policy, figure in summary["policies"].items()
        ]
    return f"{summary['split']}\n{_align(rows)}"


def _breakdown(title: str, table: dict[str, Any], reasons: dict[str, str], path: str) -> str:
    rows = [(title, "n", "AUC", "95 % limits")]
    for label, row in table.items():
        n = str(row["n"]) if "n" in row else f"{row['n_real']}+{row['n_fake']}"
        absent = reasons.get(f"{path}.{label}.auc") or reasons.get(f"{path}.{label}.low")
        rows.append((label, n, _number(row["auc"]), absent or _limits(row["low"], row["high"])))
    return _align(rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _limits(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.4f}, {high:.4f}]"


def _align(rows: Iterable[tuple[str, ...]]) -> str:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(rest[:-1], widths[1:-1], strict=True)]
        lines.append("  " + "  ".join([*cells, rest[-1]]).rstrip())
    return "\n".join(lines)
