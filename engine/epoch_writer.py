"""Record of finished epochs: history, TensorBoard events, checkpoints and one log line each."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

from engine.checkpoint import Checkpoint
from engine.event_log import EventLog
from engine.learner import Learner
from engine.run_folder import RunFolder

log = logging.getLogger(__name__)


class EpochWriter:
    """Writer of finished epochs. Only the main process writes."""

    def __init__(
        self, folder: RunFolder, identity: Checkpoint, first_epoch: int, changes: Mapping[str, tuple[Any, Any]]
    ) -> None:
        """Drop the epochs of the history from `first_epoch` on, which are trained again.

        Args:
            folder: the run folder.
            identity: template of the checkpoints, without weights, epoch and metrics.
            first_epoch: the first epoch to be written.
            changes: settings changed when the run was resumed; recorded with the first epoch.
        """
        self._folder = folder
        self._identity = identity
        self._first_epoch = first_epoch
        self._changes = changes
        self._stack = contextlib.ExitStack()
        self._events: EventLog | None = None

    def __enter__(self) -> EpochWriter:
        """Open the event file."""
        if self._folder.is_written:
            self._folder.truncate_history(before_epoch=self._first_epoch)
            self._events = self._stack.enter_context(EventLog(self._folder.path / "tensorboard", self._first_epoch))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the event file."""
        self._stack.close()

    def write(self, record: dict[str, Any], learner: Learner, *, is_best: bool) -> None:
        """Write an epoch.

        The history is written first: if the run is killed before the checkpoint, it repeats the epoch and its line.

        Raises:
            WriteError: a file cannot be written; earlier checkpoints stay intact.
        """
        if self._events is None:
            return
        epoch = record["epoch"]
        self._events.add_scalars({name: value for name, value in record.items() if name != "epoch"}, epoch)
        if epoch == self._first_epoch and self._changes:
            record["changed"] = self._changes
        self._folder.append_history(record)
        self._save(record, learner, is_best=is_best)
        log_epoch(record, learner.settings.epochs, is_best=is_best)

    def _save(self, record: Mapping[str, Any], learner: Learner, *, is_best: bool) -> None:
        """Write the epoch's checkpoints."""
        checkpoint = replace(
            self._identity,
            weights=learner.evaluated.state_dict(),
            epoch=record["epoch"],
            metrics={"valset": {"auc": record["val_auc"], "coverage": record["val_coverage"]}},
        )
        if is_best:
            self._folder.save(checkpoint, self._folder.best)
        checkpoint.training = learner.snapshot()
        self._folder.save(checkpoint, self._folder.last)


def log_epoch(record: Mapping[str, Any], epochs: int, *, is_best: bool) -> None:
    """Log an epoch in one line; a star marks the best so far."""
    unusable = f", {record['n_train_unusable']} clips unusable" if record["n_train_unusable"] else ""
    log.info(
        "epoch %d/%d: train loss %.4f, accuracy %.3f%s; val AUC %.4f, coverage %.3f%s (%.1f s)",
        record["epoch"], epochs, record["train_loss"], record["train_accuracy"], unusable,
        record["val_auc"], record["val_coverage"], " *" if is_best else "", record["seconds"],
    )  # fmt: skip
