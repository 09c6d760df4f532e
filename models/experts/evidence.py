"""From an expert's calibrated log-odds, which speak of its own modality, to evidence about the whole clip."""

from __future__ import annotations

import torch
from torch import Tensor

UNTOUCHED_SHARE = 0.5
"""Share of the forged clips that leave a given modality as it was. A convention, not fitted: most kinds forge one of two."""


def clip_evidence(log_odds: Tensor, bound: float) -> Tensor:
    """How much an expert's opinion of its modality changes the odds that the clip is forged.

    A fake has the expert's modality forged or untouched, so its likelihood ratio is the mixture ``u + (1 - u) * exp(x)`` with
    u = `UNTOUCHED_SHARE`. A forged modality raises the odds up to about `bound`; a sound one lowers them by ``log(u)`` at
    most, since it says nothing about the others: a real voice does not vouch for a face.

    Args:
        log_odds: any shape, log-likelihood ratio of "this modality is forged" to "real".
        bound: largest value of `log_odds` that counts, so that one expert does not drown the others.

    Returns:
        The same shape, in (log(u), bound).
    """
    forged = log_odds.clamp(max=bound).exp()
    return torch.log(UNTOUCHED_SHARE + (1 - UNTOUCHED_SHARE) * forged)
