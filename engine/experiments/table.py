"""The table of a set of experiments: AUC with its interval, spread over seeds, and the test against the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from engine.experiments.plan import Experiment
from engine.experiments.runs import FinishedRun
from utils.metrics import bootstrap_auc, bootstrap_auc_over_groups, holm, same_source_auc
from utils.metrics.clips import evaluated_clips
from utils.metrics.comparison import compare

Row = dict[str, Any]


@dataclass
class Outcome:
    """What came of an experiment.

    Attributes:
        experiment: the experiment.
        runs: its finished runs.
        failures: why each other one is none, the seed first.
    """

    experiment: Experiment
    runs: list[FinishedRun] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def comparison_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """One row per experiment; a figure that there is not is `None`.

    AUC, its limits and the test are of the logits averaged over the seeds; the spread is that of the seeds' own AUCs. The
    p-values are DeLong's on the clips that the first experiment scored too, corrected with Holm's method for their number.
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
    """The predictions of several seeds as one table with the mean logit; a clip that one of them left unscored is unscored."""
    tables = [pd.read_csv(run.predictions, dtype={"video_name": str}, keep_default_na=False) for run in runs]
    first = tables[0]
    logits = [
        pd.to_numeric(table.set_index("video_name")["logit"], errors="coerce").reindex(first["video_name"]).to_numpy()
        for table in tables
    ]
    return first.drop(columns="score").assign(logit=np.mean(logits, axis=0))


def outcome_row(outcome: Outcome, table: pd.DataFrame | None) -> Row:
    """An experiment's own figures."""
    experiment, runs = outcome.experiment, outcome.runs
    row: Row = {
        "config": experiment.name,
        "seeds": " ".join(str(run.seed) for run in runs),
        **dict.fromkeys(("split", "n", "coverage", "auc", "auc_low", "auc_high")),
        **dict.fromkeys(("auc_group_low", "auc_group_high", "auc_seed_mean", "auc_seed_sd")),
        **dict.fromkeys(("same_source", "same_source_low", "same_source_high", "n_sources")),
        **dict.fromkeys(("delta", "delta_low", "delta_high", "p", "p_holm")),
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
    aucs = [run.auc for run in runs if run.auc is not None]
    row["auc_seed_mean"] = float(np.mean(aucs)) if aucs else None
    row["auc_seed_sd"] = float(np.std(aucs, ddof=1)) if len(aucs) > 1 else None
    return row | figures(table, experiment.config.eval.bootstrap)


def figures(table: pd.DataFrame, resamples: int) -> Row:
    """AUC with its limits over clips and over groups, and the AUC within sources, of a predictions table."""
    clips = evaluated_clips(table, None)
    row: Row = {"n": len(clips.scored), "coverage": float(clips.scored.mean())}
    scored = clips.scored
    if clips.no_targets or not scored.any():
        return row
    target, logit = clips.is_fake[scored], clips.ranking[scored]
    over_clips = bootstrap_auc(target, logit, resamples=resamples)
    row.update(auc=over_clips.value, auc_low=over_clips.low, auc_high=over_clips.high)
    groups, sources = clips.groups(), clips.labels("source")
    if groups is not None:
        over_groups = bootstrap_auc_over_groups(target, logit, groups[scored], resamples=resamples)
        row.update(auc_group_low=over_groups.low, auc_group_high=over_groups.high)
    if sources is not None:
        within = same_source_auc(target, logit, sources[scored], resamples=resamples)
        row.update(same_source=within.value, same_source_low=within.low, same_source_high=within.high)
        row["n_sources"] = within.units
    return row


def markdown_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table with what one has to know to read it."""
    header = [
        "config",
        "AUC [95 %]",
        "AUC per seed",
        "same-source AUC [95 %]",
        f"difference to {rows[0]['config']} [95 %]",
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
    """A row's cells as text; a run that failed says so in place of its AUC."""
    if row["auc"] is None:
        reason = row["reason"] or "no AUC: the labels hold one class, or no clip was scored"
        return [row["config"], f"failed: {reason}", *["-"] * 7, row["commit"] or "-", row["data"]]
    seeds = "-" if row["auc_seed_mean"] is None else f"{row['auc_seed_mean']:.4f}"
    if row["auc_seed_sd"] is not None:
        seeds += f" ± {row['auc_seed_sd']:.4f}"
    return [
        row["config"],
        with_limits(row["auc"], row["auc_low"], row["auc_high"]),
        seeds,
        with_limits(row["same_source"], row["same_source_low"], row["same_source_high"]),
        with_limits(row["delta"], row["delta_low"], row["delta_high"], sign="+"),
        "-" if row["p_holm"] is None else f"{row['p_holm']:.3g}",
        row["seeds"],
        f"{row['coverage']:.3f}",
        f"{row['minutes_per_run']:.1f}",
        row["commit"],
        row["data"],
    ]


def notes_on(rows: Sequence[Row]) -> list[str]:
    """What the figures are of, one sentence each."""
    done = [row for row in rows if row["auc"] is not None]
    notes = []
    for split in dict.fromkeys(row["split"] for row in done):
        counts = sorted({row["n"] for row in done if row["split"] == split})
        notes.append(f"{split}: {' or '.join(map(str, counts))} clips; weights start: {starts_of(done)}.")
        if split == "valset":
            notes.append("valset: the epoch was chosen on these very clips, so the figures are optimistic.")
    if done:
        notes.append("AUC, interval (bootstrap over clips) and test are of the logits averaged over the seeds.")
    if any(row["p_holm"] is not None for row in done):
        notes.append(
            "p: DeLong's test against the first config on the same clips, corrected for the number of tests. It takes the "
            "clips for independent; clips of one source are not, so it errs towards significance."
        )
    notes += [f"{row['config']}, failed: {row['reason']}." for row in done if row["reason"]]
    return notes


def starts_of(rows: Sequence[Row]) -> str:
    """How the weights of all runs began."""
    return ", ".join(dict.fromkeys(row["start"] for row in rows))


def with_limits(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    """`0.9123 [0.8801, 0.9402]`, as far as it is known."""
    if value is None:
        return "-"
    limits = "" if low is None or high is None else f" [{low:{sign}.4f}, {high:{sign}.4f}]"
    return f"{value:{sign}.4f}{limits}"


def escaped(cell: str) -> str:
    """A cell that neither ends the column nor the line."""
    return cell.replace("|", "\\|").replace("\n", " ")
