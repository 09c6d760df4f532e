"""Fitting of `av_experts` from real clips and pseudo-fakes made from them.

The names below are imported when first used: reading a config needs `engine.fitting.config`, but not torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.fitting.base import ExpertFitter, LabelledClips
    from engine.fitting.clip_labels import labelled_clips
    from engine.fitting.fit import fit_experts

__all__ = ["ExpertFitter", "LabelledClips", "fit_experts", "labelled_clips"]


def __getattr__(name: str) -> Any:
    """Import an exported name on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from engine.fitting import base, clip_labels, fit

    return getattr(next(module for module in (base, clip_labels, fit) if hasattr(module, name)), name)
