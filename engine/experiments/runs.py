"""One run of an experiment: reused if it has finished, resumed if it was killed, else started."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.config import RunConfig
from engine.cross_validation import run_cross_validation
from engine.experiments.plan import Experiment
from engine.fitting.fit import fit_experts
from engine.provenance import git_state
from engine.run import run_training
from engine.run_folder import PREDICTION_FILE, RunFolder
from models import MODELS
from utils.errors import FFDVError, error_line
from utils.files import locked, write_text_atomic

log = logging.getLogger(__name__)

RECORD_FILE = "experiment.json"
"""The file written last: a seed's folder that contains it is complete."""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        folder: its run folder, below the seed's folder.
        seed: its seed.
        commit: the code's commit, followed by `+` if files had been changed.
        initialisation: the initial weights of the model.
        split: the evaluated split: `valset`, `testset` or `out_of_fold`.
        auc: AUC on that split; `None` if it has none.
        seconds: duration over all sessions.
        same_source: AUC within sources on that split; `None` if no source has both classes.
    """

    folder: Path
    seed: int
    commit: str
    initialisation: str
    split: str
    auc: float | None
    seconds: float
    same_source: float | None = None

    @property
    def predictions(self) -> Path:
        """The file of its predictions on that split."""
        return self.folder / "predictions.csv"


@dataclass(frozen=True)
class PlannedRun:
    """A run of a set of experiments.

    Attributes:
        experiment: the experiment.
        seed: its seed.
        output: folder of all runs.
        label: text that identifies the run in the log.
    """

    experiment: Experiment
    seed: int
    output: Path
    label: str


def attempt(planned: PlannedRun) -> FinishedRun | str:
    """Return the finished run, or one line that says why it failed."""
    log.info("%s", planned.label)
    try:
        return run_or_reuse(planned.experiment, planned.seed, planned.output)
    except FFDVError as error:
        return str(error)
    except Exception as error:
        # An error in one run (out of memory, a library's exception) must not end the remaining runs.
        return error_line(error)


def run_or_reuse(experiment: Experiment, seed: int, output: Path) -> FinishedRun:
    """Return the finished run of an experiment with a seed, starting or resuming it if needed.

    Raises:
        FFDVError: the engine refuses the data or the config.
        Exception: any other error that ends a run.
    """
    place = experiment.folder(output, seed)
    if (finished := read_record(place)) is not None:
        log.info("%s, seed %d: already finished, reused", experiment.name, seed)
        return finished
    place.mkdir(parents=True, exist_ok=True)
    # If an earlier command was killed, a worker of its cluster may train on in this folder for a minute or two.
    with locked(place):
        return read_record(place) or run_and_record(experiment, seed, place)


def run_and_record(experiment: Experiment, seed: int, place: Path) -> FinishedRun:
    """Run an experiment with a seed, or resume it, and record that it has finished."""
    config = experiment.config.model_copy(update={"seed": seed, "output_dir": str(place)})
    unfinished = newest_checkpoint(place) if config.split.folds is None else None
    before_s = 0.0
    if unfinished is not None:
        before_s = sum(epoch["seconds"] for epoch in RunFolder(unfinished.parent).read_history())
        log.info("%s, seed %d: resuming from %s", experiment.name, seed, unfinished)
    started = time.monotonic()
    folder = run(config, place, unfinished)
    metrics = json.loads((folder.path / "metrics.json").read_text(encoding="utf-8"))
    state = git_state()
    finished = FinishedRun(
        folder=folder.path,
        seed=seed,
        commit=f"{state['commit'][:10]}{'+' if state['dirty'] else ''}",
        initialisation=metrics["initialisation"],
        split=metrics["split"],
        auc=metrics["auc"]["value"],
        seconds=round(before_s + time.monotonic() - started, 1),
        same_source=metrics["same_source"]["value"],
    )
    record = asdict(finished) | {"folder": folder.path.name, "key": experiment.key, "data": experiment.data}
    write_text_atomic(place / RECORD_FILE, json.dumps(record, indent=2) + "\n")
    return finished


def run(config: RunConfig, place: Path, unfinished: Path | None) -> RunFolder:
    """Run a config; the challenge's prediction file is written to the seed's folder."""
    submission = place / PREDICTION_FILE
    if MODELS.get(config.model["name"]).built_class.fitted_by:
        return fit_experts(config, checkpoint=False)
    if config.split.folds is not None:
        return run_cross_validation(config, submission=submission)
    return run_training(config, resume=None if unfinished is None else str(unfinished), submission=submission)


def read_record(place: Path) -> FinishedRun | None:
    """Return the finished run in a seed's folder, or `None`."""
    try:
        record = json.loads((place / RECORD_FILE).read_text(encoding="utf-8"))
        values = {name: record[name] for name in FinishedRun.__dataclass_fields__ if name in record}
        finished = FinishedRun(**values | {"folder": place / values["folder"]})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return finished if finished.predictions.is_file() else None


def newest_checkpoint(place: Path) -> Path | None:
    """Return the newest `last.pth` of the unfinished runs in a seed's folder, or `None`."""
    found = sorted(place.glob("*/last.pth"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None
