"""Experiments: a set of configs and seeds run through the engine, and the table that compares them."""

from engine.experiments.plan import Experiment, plan_experiments
from engine.experiments.runs import FinishedRun, run_or_reuse
from engine.experiments.sweep import CSV_FILE, TABLE_FILE, run_experiments
from engine.experiments.table import Outcome, comparison_rows, markdown_table

__all__ = [
    "CSV_FILE",
    "TABLE_FILE",
    "Experiment",
    "FinishedRun",
    "Outcome",
    "comparison_rows",
    "markdown_table",
    "plan_experiments",
    "run_experiments",
    "run_or_reuse",
]
