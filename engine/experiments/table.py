"""The table of a set of experiments: AUC with interval, spread over seeds, and the test against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from engine.cross_validation import OUT_OF_FOLD
from engine.experiments.plan import Experiment
from engine.experiments.runs import FinishedRun
from utils.metrics import holm, summarise, summary_row
from utils.metrics.delong import compare

Row = dict[str, Any]

COLUMNS: Row = {
    **dict.fromkeys(("config", "seeds", "split", "n", "coverage")),
    **dict.fromkeys(("same_source", "same_source_low", "same_source_high", "n_sources")),
    **dict.fromkeys(("same_source_seed_mean", "same_source_seed_sd")),
    **dict.fromkeys(("auc", "auc_low", "auc_high", "auc_group_low", "auc_group_high", "auc_seed_mean", "auc_seed_sd")),
    **dict.fromkeys(("macro", "delta", "delta_low", "delta_high", "p", "p_holm")),
    **dict.fromkeys(("start", "commit", "data", "key", "minutes_per_run", "reason")),
}
"""Columns of every row, in order. Columns `type_<name>`, the AUC of one fake type against all real clips, follow."""


@dataclass
class Outcome:
    """The outcome of an experiment.

    Attributes:
        experiment: the experiment.
        runs: its finished runs.
        failures: for each failed seed, the seed and the reason.
    """

    experiment: Experiment
    runs: list[FinishedRun] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def comparison_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """Compute one row per experiment; a figure that cannot be computed is `None`.

    AUC, its limits and the test use the logits averaged over the seeds; the spread is that of the AUCs of single seeds. The
    p-values are from DeLong's test on the clips that the reference also scored, with Holm's correction for multiple tests.
    """
    tables = [seed_average(outcome.runs) if outcome.runs else None for outcome in outcomes]
    rows = [outcome_row(outcome, table) for outcome, table in zip(outcomes, tables, strict=True)]
    tested = []
    for row, table in zip(rows[1:], tables[1:], strict=True):
        if tables[0] is None or table is None:
            continue
        test = compare(table, tables[0])
        row.update({"delta": test["delta"], "delta_low": test["low"], "delta_high": test["high"], "p": test["p"]})
        if test["p"] is not None:
            tested.append(row)
    for row, corrected in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = corrected
    return rows


def seed_average(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """Average the logits of several seeds. A clip that is unscored for one seed is unscored."""
    tables = [pd.read_csv(run.predictions, dtype={"video_name": str}, keep_default_na=False) for run in runs]
    first = tables[0]
    logits = [
        pd.to_numeric(table.set_index("video_name")["logit"], errors="coerce").reindex(first["video_name"]).to_numpy()
        for table in tables
    ]
    return first.drop(columns="score").assign(logit=np.mean(logits, axis=0))


def outcome_row(outcome: Outcome, table: pd.DataFrame | None) -> Row:
    """Compute an experiment's own figures."""
    experiment, runs = outcome.experiment, outcome.runs
    row = COLUMNS | {
        "config": experiment.name,
        "seeds": " ".join(str(run.seed) for run in runs),
        "start": ", ".join(dict.fromkeys(run.initialisation for run in runs)),
        "commit": ", ".join(dict.fromkeys(run.commit for run in runs)),
        "data": experiment.data,
        "key": experiment.key,
        "minutes_per_run": round(float(np.mean([run.seconds for run in runs])) / 60, 2) if runs else None,
        "reason": "; ".join(outcome.failures),
    }
    if table is None:
        return row
    row["split"] = runs[0].split
    row.update(
        over_seeds("auc", [run.auc for run in runs]), **over_seeds("same_source", [run.same_source for run in runs])
    )
    return row | summary_row(summarise(table, split=runs[0].split, bootstrap=experiment.config.eval.bootstrap))


def over_seeds(figure: str, values: Sequence[float | None]) -> Row:
    """Return mean and standard deviation of a figure over the seeds that have it."""
    known = [value for value in values if value is not None]
    return {
        f"{figure}_seed_mean": float(np.mean(known)) if known else None,
        f"{figure}_seed_sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
    }


def control_rows(controls: pd.DataFrame, data: str) -> list[Row]:
    """Convert the table of controls, which use no trace of forgery, to rows for comparison."""
    named = controls.drop(columns="seed").rename(columns={"experts": "config"})
    figures = named.astype(object).where(named.notna(), None)
    rows = [dict(zip(figures.columns, values, strict=True)) for values in figures.to_numpy().tolist()]
    return [COLUMNS | {"split": OUT_OF_FOLD, "data": data} | row for row in rows]


def markdown_table(rows: Sequence[Row]) -> str:
    """Format the rows as a Markdown table, with notes on how to read it."""
    header = [
        "config",
        "same-source AUC [95 %]",
        "same-source AUC per seed",
        "AUC [95 %]",
        "AUC per seed",
        "macro",
        f"AUC minus that of {rows[0]['config']} [95 %]",
        "p (Holm)",
        "seeds",
        "coverage",
        "min/run",
        "commit",
        "data",
    ]
    lines = [header, ["---"] * len(header), *([*map(escaped, cells_of(row))] for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n" + "\n".join(f"- {note}" for note in notes_on(rows)) + "\n"


def cells_of(row: Row) -> list[str]:
    """Return a row's cells as text; a failed run shows its reason in place of its AUC."""
    if row["auc"] is None:
        reason = row["reason"] or "no AUC: the labels have only one class, or no clip was scored"
        return [row["config"], f"failed: {reason}", *["-"] * 9, row["commit"] or "-", row["data"]]
    return [
        row["config"],
        with_limits(row["same_source"], row["same_source_low"], row["same_source_high"]),
        with_spread(row["same_source_seed_mean"], row["same_source_seed_sd"]),
        with_limits(row["auc"], row["auc_low"], row["auc_high"]),
        with_spread(row["auc_seed_mean"], row["auc_seed_sd"]),
        with_limits(row["macro"]),
        with_limits(row["delta"], row["delta_low"], row["delta_high"], sign="+"),
        "-" if row["p_holm"] is None else f"{row['p_holm']:.3g}",
        row["seeds"] or "-",
        f"{row['coverage']:.3f}",
        "-" if row["minutes_per_run"] is None else f"{row['minutes_per_run']:.1f}",
        row["commit"] or "-",
        row["data"],
    ]


def notes_on(rows: Sequence[Row]) -> list[str]:
    """Return notes on the figures, one sentence each."""
    done = [row for row in rows if row["auc"] is not None]
    notes = []
    for split in dict.fromkeys(row["split"] for row in done):
        counts = sorted({row["n"] for row in done if row["split"] == split})
        notes.append(f"{split}: {' or '.join(map(str, counts))} clips; weights start: {starts_of(done)}.")
        if split == "valset":
            notes.append("valset: the epoch was selected on these clips, so the figures are optimistic.")
    if done:
        notes.append(
            "AUC, interval (bootstrap over clips), same-source AUC (interval: bootstrap over sources), macro (mean over the "
            "fakes' types) and test use the logits averaged over the seeds; per seed: mean and standard deviation."
        )
    if any(row["p_holm"] is not None for row in done):
        notes.append(
            "p: DeLong's test against the first config on the same clips, corrected for the number of tests. It assumes "
            "independent clips; clips of one source are not, so p is too small."
        )
    if any(not row["seeds"] for row in done):
        notes.append("control: systems that use no trace of forgery, trained on the labels of the other folds.")
    notes += [f"{row['config']}, failed: {row['reason']}." for row in done if row["reason"]]
    return notes


def starts_of(rows: Sequence[Row]) -> str:
    """Return the distinct initialisations of all runs."""
    return ", ".join(dict.fromkeys(row["start"] for row in rows if row["start"]))


def with_spread(mean: float | None, deviation: float | None) -> str:
    """Return `0.9123 ± 0.0040`, without the parts that are unknown."""
    spread = "" if deviation is None else f" ± {deviation:.4f}"
    return f"{with_limits(mean)}{spread}"


def with_limits(value: float | None, low: float | None = None, high: float | None = None, sign: str = "") -> str:
    """Return `0.9123 [0.8801, 0.9402]`, without the parts that are unknown."""
    if value is None:
        return "-"
    limits = "" if low is None or high is None else f" [{low:{sign}.4f}, {high:{sign}.4f}]"
    return f"{value:{sign}.4f}{limits}"


def escaped(cell: str) -> str:
    """Escape characters that would end a Markdown table's cell or line."""
    return cell.replace("|", "\\|").replace("\n", " ")
