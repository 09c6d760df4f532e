"""Settings of the shortcut audit."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CLIPS = 2000


@dataclass(frozen=True)
class AuditOptions:
    """Settings of an audit.

    Attributes:
        group: Column whose values must not occur on both sides of a cross-validation split. By default the column
            `group` or `source`, if the labels have one; otherwise every clip is its own group.
        mitigations: Names of `MITIGATIONS` applied to all clips in a second pass.
        workers: Number of processes that measure clips.
        seed: Seed of folds, random encoders and resampling. The same seed gives the same rows.
        max_clips: Maximum number of clips to audit. From a larger set, whole groups are drawn at random.
        quiet: Whether to hide the progress bar.
    """

    group: str | None = None
    mitigations: tuple[str, ...] = ()
    workers: int = 1
    seed: int = 0
    max_clips: int = MAX_CLIPS
    quiet: bool = False
