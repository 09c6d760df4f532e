"""Conversion of an expert's calibrated log-odds, which concern one modality, to evidence about the whole clip."""

from __future__ import annotations

import torch
from torch import Tensor

UNTOUCHED_SHARE = 0.5
"""Share of forged clips that leave a given modality unchanged. A convention, not fitted: most forgeries alter one of two."""


def clip_evidence(log_odds: Tensor, bound: float) -> Tensor:
    """Return the log-likelihood-ratio contribution of an expert to "the clip is forged".

    In a fake, the expert's modality is forged or unchanged, so its likelihood ratio is the mixture ``u + (1 - u) * exp(x)``
    with u = `UNTOUCHED_SHARE`. A forged modality raises the log-odds by about `bound` at most. A genuine one lowers them by
    ``log(u)`` at most, because it tells nothing about the other modality.

    Args:
        log_odds: any shape, log-likelihood ratio of "this modality is forged" to "real".
        bound: upper limit applied to `log_odds`, so that one expert cannot dominate the others.

    Returns:
        The same shape, in (log(u), bound).
    """
    forged = log_odds.clamp(max=bound).exp()
    return torch.log(UNTOUCHED_SHARE + (1 - UNTOUCHED_SHARE) * forged)
