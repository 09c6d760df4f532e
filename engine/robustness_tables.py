"""Results of a robustness run: AUC with interval, coverage and drop per cell, as a table and a heat map."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataset.degradations import Degradation
from engine.run_folder import write_csv
from utils.files import atomic_path, write_text_atomic
from utils.metrics import bootstrap_auc, roc_auc

CLEAN = "none"
DROP, OWN_DROP = "drop", "drop_beyond_baseline"
GREY = "0.85"
LIGHT_FROM = 0.8
"""Minimum AUC at which a cell of the heat map is light enough for dark text."""


def cell_table(scores: Mapping[Degradation, pd.DataFrame], *, resamples: int = 2000) -> pd.DataFrame:
    """Compute one row per degradation.

    Args:
        scores: for each degradation the clips' `target` and `logit` (NaN where unscored), in the same order of clips.
        resamples: number of bootstrap resamples over clips, stratified by class.

    Returns:
        `family, severity, auc, low, high, coverage`, then `n, n_scored`, `drop` and `drop_beyond_baseline` (the AUC of the
        unchanged clips, or of the family's baseline, minus the AUC of this cell, over the clips scored in both), and
        `baseline, kind, parameter, level`. Values that cannot be computed are NaN.
    """
    at_severity_0 = {cell.family.name: table for cell, table in scores.items() if cell.severity == 0}
    rows = []
    for cell, table in scores.items():
        logit = table["logit"].to_numpy(float)
        scored = ~np.isnan(logit)
        auc = bootstrap_auc(table["target"].to_numpy()[scored], logit[scored], resamples=resamples)
        rows.append(
            {
                "family": cell.family.name,
                "severity": cell.severity,
                "auc": auc.value,
                "low": auc.low,
                "high": auc.high,
                "coverage": scored.mean(),
                "n": len(table),
                "n_scored": int(scored.sum()),
                DROP: auc_drop(at_severity_0[CLEAN], table),
                OWN_DROP: auc_drop(at_severity_0[cell.family.baseline], table),
                "baseline": cell.family.baseline,
                "kind": cell.family.kind,
                "parameter": cell.family.parameter,
                "level": "" if cell.level is None else format_level(cell.level),
            }
        )
    numbers = ("auc", "low", "high", DROP, OWN_DROP)
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, float))


def auc_drop(before: pd.DataFrame, after: pd.DataFrame) -> float | None:
    """Return the drop in AUC from one table to another over the clips scored in both; `None` if it cannot be computed."""
    logits = before["logit"].to_numpy(float), after["logit"].to_numpy(float)
    both = ~np.isnan(logits[0]) & ~np.isnan(logits[1])
    values = [roc_auc(after["target"].to_numpy()[both], logit[both]).value for logit in logits]
    return None if values[0] is None or values[1] is None else values[0] - values[1]


def format_level(level: Any) -> str:
    """Return a family's parameter as short text."""
    if isinstance(level, tuple):
        return "-".join(map(str, level))
    return f"{level:.3g}" if isinstance(level, float) else str(level)


def summary(cells: pd.DataFrame) -> dict[str, Any]:
    """Return the clean AUC and the mean drops, per family and over all cells of severity above 0; null if there are none."""
    degraded = cells[cells["severity"] > 0]
    clean = cells[cells["family"] == CLEAN].iloc[0]

    def mean(values: pd.Series) -> float | None:
        return None if values.isna().all() else float(values.mean())

    families = {
        name: {"mean_drop": mean(rows[DROP]), "mean_drop_beyond_baseline": mean(rows[OWN_DROP])}
        for name, rows in degraded.groupby("family", sort=False)
    }
    interval = clean[["auc", "low", "high"]].astype(object).where(clean[["auc", "low", "high"]].notna(), None)
    return {
        "auc": dict(zip(("value", "low", "high"), interval, strict=True)),
        "coverage": float(clean["coverage"]),
        "mean_drop": mean(degraded[DROP]),
        "mean_drop_beyond_baseline": mean(degraded[OWN_DROP]),
        "lowest_coverage": float(cells["coverage"].min()),
        "families": families,
    }


def grid(cells: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return one column as a table of families by severities; severity 0 is the family's baseline."""
    wide = cells.pivot(index="family", columns="severity", values=column)
    own = cells.drop_duplicates("family").set_index("family")
    wide = wide.reindex(own.index)
    baselines = own.loc[own["baseline"].where(own["severity"] > 0, own.index), column]
    wide[0] = baselines.to_numpy()
    return wide[sorted(wide.columns)]


def format_cells(cells: pd.DataFrame) -> str:
    """Format the run as an aligned table: AUC per family and severity, coverage where it is below 100 %, mean drops."""
    shown = grid(cells, "auc").map(lambda auc: "" if pd.isna(auc) else f"{auc:.3f}")
    coverage = grid(cells, "coverage").map(lambda share: f" ({share:.0%})" if share < 1 else "")
    shown = shown + coverage
    means = cells[cells["severity"] > 0].groupby("family")[[DROP, OWN_DROP]].mean().reindex(shown.index)
    for name, column in (("mean drop", DROP), ("beyond re-encode", OWN_DROP)):
        shown[name] = means[column].map(lambda drop: "" if pd.isna(drop) else f"{drop:+.3f}")
    shown.columns = [str(name) for name in shown.columns]
    shown.index.name = None
    return shown.to_string(justify="right")


def draw_heat_map(cells: pd.DataFrame, path: Path) -> None:
    """Draw the AUC by family and severity as a PNG; grey cells were not computed, coverage is printed where below 100 %."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    auc, coverage = grid(cells, "auc"), grid(cells, "coverage")
    figure = Figure(figsize=(1.6 + 0.85 * auc.shape[1], 1.4 + 0.32 * len(auc)), layout="constrained")
    axes = figure.add_subplot()
    colours = colormaps["viridis"].with_extremes(bad=GREY)
    image = axes.imshow(np.ma.masked_invalid(auc), cmap=colours, vmin=0.5, vmax=1.0, aspect="auto")
    shares = coverage.to_numpy(float)
    for (row, column), value in np.ndenumerate(auc.to_numpy(float)):
        share = shares[row, column]
        if not np.isnan(share):
            text = ("-" if np.isnan(value) else f"{value:.2f}") + (f"\n{share:.0%}" if share < 1 else "")
            colour = "white" if value < LIGHT_FROM else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour, linespacing=0.9)
    axes.set_xticks(range(auc.shape[1]), [f"{severity}" if severity else "0 (baseline)" for severity in auc.columns])
    axes.set_yticks(range(len(auc)), auc.index)
    axes.set_xlabel("severity")
    figure.colorbar(image, label="AUC", shrink=0.6, extend="min")
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))


def write_results(
    output: Path, scores: Mapping[Degradation, pd.DataFrame], cells: pd.DataFrame, facts: Mapping[str, Any]
) -> None:
    """Write `robustness.csv`, `robustness.json` (summary and provenance), `heat_map.png` and `scores/`."""
    write_csv(cells, output / "robustness.csv")
    write_text_atomic(output / "robustness.json", json.dumps(facts, indent=2, allow_nan=False) + "\n")
    draw_heat_map(cells, output / "heat_map.png")
    for cell, table in scores.items():
        write_csv(table, output / "scores" / f"{cell}.csv")
