"""Conversion of an expert's calibrated log-odds, which concern one modality, to evidence about the whole clip."""

from __future__ import annotations

import torch
from torch import Tensor

UNTOUCHED_SHARE = 0.5
"""Share of forged clips in which a given modality is genuine. The value is a convention, not an estimate."""


def clip_evidence(log_odds: Tensor, bound: float) -> Tensor:
    """Return the log-likelihood-ratio contribution of an expert to "the clip is forged".

    In a fake, the expert's modality is forged or unchanged, so its likelihood ratio is the mixture ``u + (1 - u) * exp(x)``
    with u = `UNTOUCHED_SHARE`. A forged modality raises the log-odds by at most about `bound`. A genuine modality lowers them
    by at most ``-log(u)``, because the other modality may still be forged.

    Args:
        log_odds: log-likelihood ratio of "this modality is forged" to "real", any shape.
        bound: upper limit applied to `log_odds`, which keeps one expert from dominating the others.

    Returns:
        The same shape, in (log(u), bound).
    """
    forged = log_odds.clamp(max=bound).exp()
    return torch.log(UNTOUCHED_SHARE + (1 - UNTOUCHED_SHARE) * forged)
