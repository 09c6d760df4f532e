"""All runs of all experiments. A failed run becomes a row with its reason."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dataset.workers import LOCAL, Engine
from engine.config import RunConfig
from engine.evaluate import split_of
from engine.experiments.plan import Experiment
from engine.experiments.runs import FinishedRun, PlannedRun, attempt
from engine.experiments.table import Outcome, Row, comparison_rows, control_rows, markdown_table
from engine.fitting.base import LabelledClips
from engine.fitting.clip_labels import labelled_clips
from engine.fitting.controls import control_table
from engine.run_folder import write_csv
from utils.errors import UsageError
from utils.files import write_text_atomic

log = logging.getLogger(__name__)

TABLE_FILE, CSV_FILE = "experiments.md", "experiments.csv"


def run_experiments(
    experiments: Sequence[Experiment],
    seeds: Sequence[int],
    output: Path,
    *,
    controls: bool = False,
    engine: Engine = LOCAL,
) -> list[Outcome]:
    """Run or reuse every experiment with every seed, and rewrite the table after each experiment.

    Args:
        experiments: the experiments; the first is the reference of the comparison.
        seeds: the seeds to run each config with.
        output: receives `<name>-<key>/seed_<n>/`, `experiments.md` and `experiments.csv`.
        controls: add rows of control classifiers, which use no trace of forgery (duration, face size, container facts,
            ...), on the first config's clips and folds.
        engine: where the runs take place.

    Returns:
        One outcome per experiment.

    Raises:
        UsageError: the output folder cannot be written, or the first config has no folds for the controls.
    """
    reference = experiments[0]
    control_clips = clips_for_controls(reference.config) if controls else None
    output = output.resolve()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--output cannot be written: {output} ({error.strerror or error})") from None
    total = len(experiments)
    planned = [
        PlannedRun(experiment, seed, output, f"experiment {number} of {total}: {experiment.name}, seed {seed}")
        for number, experiment in enumerate(experiments, start=1)
        for seed in seeds
    ]
    cores = max(experiment.config.data.workers for experiment in experiments)
    results = engine.run_jobs(attempt, planned, cores=cores)
    outcomes: list[Outcome] = []
    for experiment in experiments:
        outcome = Outcome(experiment)
        for seed, (result, reason) in zip(seeds, results, strict=False):
            if isinstance(result, FinishedRun):
                outcome.runs.append(result)
            else:
                outcome.failures.append(f"seed {seed}: {result or reason}")
                log.warning("%s: %s", experiment.name, outcome.failures[-1])
        outcomes.append(outcome)
        rows = comparison_rows(outcomes)
        write_table(rows, output)
    if control_clips is not None:
        log.info("controls")
        controls_found = control_table(control_clips, reference.config)
        write_table([*rows, *control_rows(controls_found, reference.data)], output)
    return outcomes


def write_table(rows: list[Row], output: Path) -> None:
    """Write the table as CSV and as Markdown."""
    write_csv(pd.DataFrame(rows), output / CSV_FILE)
    write_text_atomic(output / TABLE_FILE, markdown_table(rows))


def clips_for_controls(config: RunConfig) -> LabelledClips:
    """Return the clips that a config is cross-validated on.

    Raises:
        UsageError: the config is not cross-validated, or its clips are in two label files.
    """
    if config.split.folds is None:
        raise UsageError("--controls are out-of-fold figures: they need split.folds in the first config")
    if split_of(config, "valset", config.features).labels.is_file():
        raise UsageError("--controls need all clips in trainset's label file; this data root has one for valset too")
    return labelled_clips(config)
