"""The shortcut audit: how far can one get on a labelled set of clips without looking at the forgery?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

MAX_CLIPS = 2000


def run_audit(
    labels: pd.DataFrame,
    video_dir: Path,
    *,
    group: str | None = None,
    remedies: Sequence[str] = (),
    workers: int = 1,
    seed: int = 0,
    max_clips: int = MAX_CLIPS,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Audit a split; see `engine.audit.run.audit`, which this calls."""
    # Workers import this package to measure clips: they need neither scikit-learn nor torch.
    from engine.audit.run import audit

    return audit(
        labels,
        video_dir,
        group=group,
        remedies=remedies,
        workers=workers,
        seed=seed,
        max_clips=max_clips,
        quiet=quiet,
    )
