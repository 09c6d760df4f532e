"""The three modes of `main.py`: train and evaluate, resume a run, evaluate a checkpoint."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import torch

from dataset.clips import ClipTable, open_clips
from dataset.label_hints import log_name_hints
from engine.checkpoint import load_checkpoint
from engine.config import EMPTY_DATA_HINT, RunConfig
from engine.device import make_repeatable, seed_everything
from engine.evaluate import evaluate_split, merge_scores, read_submission, split_of
from engine.leakage import check_leakage
from engine.processes import current_processes, is_connection_error, lost_connection, process_group
from engine.remote_packs import with_local_packs
from engine.results import ResultOrigin, finish, refuse_unscored
from engine.resume import ResumedRun, check_same_clips, resume_run
from engine.run_folder import PREDICTION_FILE, RunFolder, check_output, write_csv
from engine.train import TrainingClips, fit
from models import MODELS, build_model
from utils.errors import UsageError
from utils.features.config import FeatureConfig

log = logging.getLogger(__name__)

MERGED_FILE = "submit.csv"
"""Default name of a merged submission."""


@dataclass(frozen=True)
class Merging:
    """Merging of scores into an existing submission.

    Attributes:
        given: the submission.
        output: path of the merged submission.
    """

    given: str
    output: str

    def check(self) -> pd.DataFrame:
        """Read the submission and check that the merged one can be written.

        Raises:
            UsageError: they cannot.
        """
        submission = read_submission(self.given)
        check_output(self.output, "the merged submission")
        return submission

    def write(self, submission: pd.DataFrame, predictions: pd.DataFrame) -> None:
        """Write the merged submission."""
        merged, n_ours = merge_scores(submission, predictions)
        write_csv(merged, Path(self.output))
        log.info("%s: %d values of %s are replaced by our scores", self.output, n_ours, self.given)


@dataclass(frozen=True)
class RunClips:
    """The clips of a training run: training, validation, and the test split if it is evaluated."""

    training: TrainingClips
    test: ClipTable | None

    @property
    def evaluated(self) -> Sequence[ClipTable]:
        """The validation split, then the test split if there is one."""
        return [self.training.val, *([self.test] if self.test is not None else [])]


def run_training(config: RunConfig, resume: str | None = None, *, submission: Path = PREDICTION_FILE) -> RunFolder:
    """Train, select the epoch on the validation split, and evaluate it on the split that `evaluate` names.

    Args:
        config: the resolved configuration, model section included.
        resume: the `last.pth` of a run to continue, in its own folder.
        submission: path of the challenge's prediction file.

    Raises:
        UsageError: the configuration, the labels or the checkpoint cannot be used; nothing has been written.
        WorkError: training failed, no clip could be scored, or a file could not be written.
    """
    require_gradient_training(config)
    with process_group(config.device, config.train.timeout_s) as device:
        return train_and_evaluate(config, device, resume, submission)


def train_and_evaluate(config: RunConfig, device: torch.device, resume: str | None, submission: Path) -> RunFolder:
    """Train and evaluate in the current process group; see `run_training`."""
    started = datetime.now(timezone.utc)
    processes = current_processes()
    config = with_local_packs(config, dict.fromkeys(("trainset", "valset", config.evaluated_split)))
    resumed = resume_run(resume, config) if resume else None
    clips = open_run_clips(config)
    if resumed is not None:
        check_same_clips(resumed.checkpoint, clips.training.train, clips.training.val)
    processes.on_main(lambda: check_output(submission, "the prediction file"))
    leakage = processes.on_main(lambda: check_leakage(clips.training.train, clips.evaluated, config))

    make_repeatable()
    seed_everything(config.seed)
    model = resumed.checkpoint.build() if resumed else build_model(config.model, config.features)
    folder = run_folder(config.output_dir, config.name, resume)
    with folder.logging():
        folder.write_config(config.to_yaml())
        log.info("run folder %s; device %s; weights start: %s", folder.path, describe(device), model.initialisation)
        log_start(clips, resumed)
        log.info("%s", leakage.sentence())
        with continuation_named(folder, config.train.timeout_s):
            fitted = fit(model, clips.training, config, folder, device=device, resumed=resumed)
            results = {"valset": fitted.validated}
            if clips.test is not None:
                results["testset"] = evaluate_split(fitted.model, fitted.checkpoint, config, clips.test, device)
            origin = ResultOrigin(fitted.checkpoint, folder.best, started, leakage)
            processes.on_main(lambda: finish(folder, results, config, origin, submission))
        refuse_unscored(folder, results[config.evaluated_split], config)
    return folder


@contextlib.contextmanager
def continuation_named(folder: RunFolder, timeout_s: float) -> Iterator[None]:
    """Name the option that continues the training if the block is interrupted, or another process of the run has ended.

    Args:
        folder: the run folder.
        timeout_s: how long a process waits for the others.
    """
    try:
        yield
    except KeyboardInterrupt as interruption:
        interruption.args = (how_to_continue(folder),)
        raise
    except RuntimeError as error:
        if current_processes().is_group and is_connection_error(error):
            raise lost_connection(timeout_s, how_to_continue(folder)) from error
        raise


def how_to_continue(folder: RunFolder) -> str:
    """Return advice on how to continue an interrupted training run."""
    if folder.last.is_file():
        return f"everything finished so far is kept; continue with --resume {folder.last}"
    return "no epoch had finished, so start the run again"


def run_evaluation(
    config: RunConfig,
    checkpoint_path: str,
    *,
    merge_into: str | None = None,
    output: str | None = None,
    submission: Path = PREDICTION_FILE,
) -> RunFolder:
    """Evaluate a checkpoint on the split that `evaluate` names; for `test`, also on the validation split if it exists.

    Model and feature settings are those of the checkpoint; data, evaluation and device are those of the configuration.

    Args:
        config: the resolved configuration.
        checkpoint_path: the checkpoint.
        merge_into: a submission to merge our scores into.
        output: path of the merged submission.
        submission: path of the challenge's prediction file.

    Raises:
        UsageError: the configuration, the labels or the checkpoint cannot be used; nothing has been written.
        WorkError: no clip could be scored, or a file could not be written.
    """
    merging = Merging(merge_into, output or MERGED_FILE) if merge_into is not None else None
    with process_group(config.device, config.train.timeout_s) as device:
        return evaluate_checkpoint(config, device, checkpoint_path, merging, submission)


def evaluate_checkpoint(
    config: RunConfig, device: torch.device, checkpoint_path: str, merging: Merging | None, submission: Path
) -> RunFolder:
    """Evaluate a checkpoint in the current process group; see `run_evaluation`."""
    started = datetime.now(timezone.utc)
    processes = current_processes()
    config = with_local_packs(config, dict.fromkeys(("valset", config.evaluated_split)))
    checkpoint = load_checkpoint(checkpoint_path)
    model = checkpoint.build().to(device)
    names = [config.evaluated_split]
    if config.evaluate == "test" and split_of(config, "valset", checkpoint.features).labels.is_file():
        names.insert(0, "valset")
    tables = [open_required(config, name, checkpoint.features, need_targets=False) for name in names]
    processes.on_main(lambda: check_output(submission, "the prediction file"))
    given = processes.on_main(merging.check) if merging is not None else None
    make_repeatable()
    name = checkpoint.run_config.get("name", config.name) if config.name == RunConfig().name else config.name
    config = config.model_copy(update={"name": name, "model": checkpoint.model, "features": checkpoint.features})
    folder = run_folder(config.output_dir, f"{name}_evaluation")
    with folder.logging():
        folder.write_config(config.to_yaml())
        log.info("run folder %s; device %s; checkpoint %s", folder.path, describe(device), checkpoint_path)
        results = {table.split.name: evaluate_split(model, checkpoint, config, table, device) for table in tables}
        origin = ResultOrigin(checkpoint, Path(checkpoint_path), started)
        processes.on_main(lambda: finish(folder, results, config, origin, submission))
        headline = results[config.evaluated_split]
        if merging is not None and given is not None:
            processes.on_main(lambda: merging.write(given, headline.predictions))
        refuse_unscored(folder, headline, config)
    return folder


def run_folder(output_dir: str, name: str, resume: str | None = None) -> RunFolder:
    """Create the folder of a run, or use that of the run to resume. The main process writes it."""
    processes = current_processes()
    path = Path(resume).parent if resume else processes.on_main(lambda: RunFolder.create(output_dir, name).path)
    return RunFolder(path, is_written=processes.is_main)


def describe(device: torch.device) -> str:
    """Return the device and the number of processes, for the log."""
    size = current_processes().size
    return str(device) if size == 1 else f"{device.type} in {size} processes"


def open_run_clips(config: RunConfig) -> RunClips:
    """Open the splits of a training run.

    Raises:
        UsageError: a label file is missing or invalid, or the training or validation split has only one class.
    """
    train, val = (open_required(config, name, config.features, need_targets=True) for name in ("trainset", "valset"))
    require_both_classes(train, val)
    test = open_required(config, "testset", config.features, need_targets=False) if config.evaluate == "test" else None
    return RunClips(TrainingClips(train, val), test)


def open_required(config: RunConfig, name: str, features: FeatureConfig, *, need_targets: bool) -> ClipTable:
    """Open a split that the run requires.

    Raises:
        UsageError: its label file is missing or invalid, or its features cannot be used.
    """
    split = split_of(config, name, features)
    if not split.labels.is_file():
        raise UsageError(f"{name} is needed, but its label file {split.labels} does not exist; {EMPTY_DATA_HINT}")
    clips = open_clips(split, config.data, config.extraction, need_targets=need_targets)
    log_name_hints(clips.names, split.videos, split.labels)
    return clips


def require_both_classes(*tables: ClipTable) -> None:
    """Check that training and selection by AUC have real and fake clips.

    Raises:
        UsageError: a split has only one class.
    """
    for clips in tables:
        if clips.labels["target"].nunique() < 2:
            raise UsageError(
                f"{clips.split.name} has only one class: training and selection by AUC need real and fake clips"
            )


def require_gradient_training(config: RunConfig) -> None:
    """Check that the model is trained by gradient descent.

    Raises:
        UsageError: it is not; the message names the command that fits it.
    """
    name = config.model["name"]
    if command := MODELS.get(name).built_class.fitted_by:
        raise UsageError(f"{name} is not trained by gradient steps: fit it with `python {command}`")


def log_start(clips: RunClips, resumed: ResumedRun | None) -> None:
    """Log the number of clips per class, and the settings changed by resuming."""
    for table in (clips.training.train, clips.training.val):
        fakes = int(table.labels["target"].sum())
        log.info(
            "%s: %d clips, %d real and %d fake", table.split.name, len(table.labels), len(table.labels) - fakes, fakes
        )
    if resumed is not None and resumed.changes:
        log.info("settings changed from epoch %d on: %s", resumed.next_epoch, resumed.describe_changes())
