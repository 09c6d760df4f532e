"""Shortcut audit: measures how well a labelled set can be classified without detecting the forgery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from engine.audit.options import AuditOptions

__all__ = ["AuditOptions", "run_audit"]

_DEFAULTS = AuditOptions()


def run_audit(labels: pd.DataFrame, video_dir: Path, options: AuditOptions = _DEFAULTS) -> list[dict[str, Any]]:
    """Audit a split; see `engine.audit.run.audit`."""
    # Imported here because worker processes import this package but need neither scikit-learn nor torch.
    from engine.audit.run import audit

    return audit(labels, video_dir, options)
