"""Resuming a run with changed settings: which changes are applied, which are refused, and how they are recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataset.clips import ClipTable
from engine.checkpoint import Checkpoint, load_checkpoint
from engine.config import RunConfig, check_run_config, flat_keys
from engine.provenance import table_fingerprint
from engine.training_state import TrainingState
from utils.errors import UsageError

FIXED = {
    "model": "the weights depend on it",
    "features": "the weights were trained on them",
    "seed": "the finished epochs used it",
    "name": "the run folder is named after it",
    "eval.tta": "the best epoch so far was selected with it",
}
"""Settings that a resumed run cannot change, with the reason."""

UNRECORDED = ("output_dir", "train.epochs")
"""Settings whose changes are not recorded: a resumed run keeps its folder, and the history lists the epochs anyway."""


@dataclass(frozen=True)
class ResumedRun:
    """The state to continue a run from.

    Attributes:
        checkpoint: its `last.pth`.
        training: optimiser and selection state.
        changes: old and new value of each changed setting, by dotted path.
    """

    checkpoint: Checkpoint
    training: dict[str, Any]
    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def next_epoch(self) -> int:
        """The epoch to train next, from 1."""
        return int(self.training["state"]["next_epoch"])

    def describe_changes(self) -> str:
        """Return the changes in one line."""
        return format_changes(self.changes)


def resumed_config(checkpoint_path: str, overrides: Sequence[str]) -> RunConfig:
    """Return the configuration that a checkpoint was trained with, after applying overrides (such as more epochs).

    Raises:
        UsageError: an override is invalid, or the file is not a checkpoint.
    """
    return check_run_config(
        load_checkpoint(checkpoint_path).run_config, overrides, where=checkpoint_path, check_model=True
    )


def resume_run(checkpoint_path: str, config: RunConfig) -> ResumedRun:
    """Load the state to continue from and check that the configuration can be applied to it.

    Args:
        checkpoint_path: the run's `last.pth`.
        config: the resolved configuration, which may differ from the run's own.

    Raises:
        UsageError: the checkpoint has no training state, a fixed setting differs, or a `train` setting differs although
            no epoch is left to apply it to.
    """
    checkpoint = load_checkpoint(checkpoint_path)
    if checkpoint.training is None:
        raise UsageError(f"{checkpoint_path} has no training state; resume from the run's last.pth")
    before = check_run_config(checkpoint.run_config, where=str(checkpoint_path), check_model=True)
    changes = changed_settings(before, config)
    refused = {path: reason for path in changes if (reason := fixed_reason(path))}
    if refused:
        reasons = "; ".join(f"{path} ({reason})" for path, reason in sorted(refused.items()))
        raise UsageError(f"a resumed run cannot change {reasons}; start a new run instead")
    run = ResumedRun(
        checkpoint, checkpoint.training, {path: changes[path] for path in changes if path not in UNRECORDED}
    )
    done = run.next_epoch - 1
    if config.train.epochs < done:
        raise UsageError(f"train.epochs={config.train.epochs}: the run has already trained {done} epochs")
    unused = sorted(path for path in changes if path.startswith("train.") and path != "train.epochs")
    if unused and config.train.epochs == done:
        raise UsageError(
            f"{', '.join(unused)}: the run has trained all of its {done} epochs, so the change would have no effect; "
            "raise train.epochs too"
        )
    if unused and TrainingState(**run.training["state"]).stops_early(config.train):
        raise UsageError(
            f"{', '.join(unused)}: the run stopped early after epoch {done}, so the change would have no effect; "
            "raise train.patience too"
        )
    return run


def changed_settings(before: RunConfig, after: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Return the old and new value of every setting that differs, by dotted path."""
    old, new = (config.model_dump(mode="json") for config in (before, after))
    values = {path: (value_at(old, path), value_at(new, path)) for path in sorted(flat_keys(old) | flat_keys(new))}
    return {
        path: pair
        for path, pair in values.items()
        if pair[0] != pair[1] and not all(isinstance(value, dict) for value in pair)
    }


def value_at(mapping: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, or `None` if there is none."""
    value: Any = mapping
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def fixed_reason(path: str) -> str:
    """Return the reason why a setting cannot change, or an empty string if it can."""
    return next((reason for name, reason in FIXED.items() if path == name or path.startswith(f"{name}.")), "")


def check_same_clips(checkpoint: Checkpoint, *tables: ClipTable) -> None:
    """Check that a resumed run uses the same training and validation clips as before, regardless of their location.

    Raises:
        UsageError: names or targets of a split differ from those recorded in the checkpoint.
    """
    recorded = checkpoint.provenance.get("data", {})
    for table in tables:
        name = table.split.name
        if recorded.get(name, "") not in ("", table_fingerprint(table.labels)):
            raise UsageError(
                f"{table.split.labels}: its names or targets differ from those of the run's {name}; a resumed run cannot "
                "change its clips; start a new run instead"
            )


def format_changes(changes: Mapping[str, Sequence[Any]]) -> str:
    """Return changed settings as `train.lr 0.003 -> 0.001, ...`."""
    return ", ".join(f"{path} {old} -> {new}" for path, (old, new) in changes.items())


def recorded_changes(history: Sequence[Mapping[str, Any]]) -> str:
    """Return the setting changes recorded in a run's history, or an empty string."""
    return "; ".join(
        f"from epoch {epoch['epoch']}: {format_changes(epoch['changed'])}" for epoch in history if epoch.get("changed")
    )
