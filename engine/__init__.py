"""Runs: configuration, training, evaluation, scoring, checkpoints, run folders and reports.

The package exports `Detector`, which scores clips, with its input type `ClipArrays` and its result type `Score`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.detector import Detector, Score
    from utils.media.arrays import ClipArrays

__all__ = ["ClipArrays", "Detector", "Score"]

_MODULES = {"ClipArrays": "utils.media.arrays", "Detector": "engine.detector", "Score": "engine.detector"}


def __getattr__(name: str) -> Any:
    """Import an exported class on first use, so that `engine.config` can be imported without torch."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
