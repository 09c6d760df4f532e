"""All runs of all experiments, one after the other. A failed run becomes a row with its reason."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from engine.config import RunConfig
from engine.evaluate import split_of
from engine.experiments.plan import Experiment
from engine.experiments.runs import run_or_reuse
from engine.experiments.table import Outcome, Row, comparison_rows, control_rows, markdown_table
from engine.fitting.base import LabelledClips
from engine.fitting.clip_labels import labelled_clips
from engine.fitting.controls import control_table
from engine.run_folder import write_csv
from utils.errors import FFDVError, UsageError
from utils.files import write_text_atomic

log = logging.getLogger(__name__)

TABLE_FILE, CSV_FILE = "experiments.md", "experiments.csv"


def run_experiments(
    experiments: Sequence[Experiment], seeds: Sequence[int], output: Path, *, controls: bool = False
) -> list[Outcome]:
    """Run or reuse every experiment with every seed, and rewrite the table after each experiment.

    Args:
        experiments: the experiments; the first is the reference of the comparison.
        seeds: the seeds to run each config with.
        output: receives `<name>-<key>/seed_<n>/`, `experiments.md` and `experiments.csv`.
        controls: add rows of control classifiers, which use no trace of forgery (duration, face size, container facts,
            ...), on the first config's clips and folds.

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
    outcomes: list[Outcome] = []
    for number, experiment in enumerate(experiments, start=1):
        outcome = Outcome(experiment)
        for seed in seeds:
            log.info("experiment %d of %d: %s, seed %d", number, len(experiments), experiment.name, seed)
            try:
                outcome.runs.append(run_or_reuse(experiment, seed, output))
            except FFDVError as error:
                outcome.failures.append(f"seed {seed}: {error}")
            except Exception as error:
                # An error in one run (out of memory, a library's exception) must not end the remaining runs.
                outcome.failures.append(f"seed {seed}: {type(error).__name__}: {first_line(error)}")
            if outcome.failures:
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


def first_line(error: Exception, limit: int = 200) -> str:
    """Return the first line of an exception's message, shortened for a table."""
    lines = str(error).strip().splitlines()
    return lines[0][:limit] if lines else ""
