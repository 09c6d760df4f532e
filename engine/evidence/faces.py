"""The tracked face on the page: a few crops, with the map of the forgery localizers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.evidence.reading import FaceReading
from engine.evidence.types import FaceCrop, FaceView

SHOWN_PAIRS = 6


@dataclass(frozen=True, eq=False)
class FaceMap:
    """Output of the forgery localizers for P pairs.

    Attributes:
        heat: (P, 28, 28) float32, mean patch logits.
        logits: (P,) float64, mean pair logit.
        typical: mean pair logit of a typical real clip.
    """

    heat: np.ndarray
    logits: np.ndarray
    typical: float


def face_view(reading: FaceReading, found: FaceMap | None) -> FaceView:
    """Return the pairs with the highest logit in time order; evenly spaced ones without a map."""
    facts = (reading.start_s, reading.end_s, reading.eye_px, reading.found)
    if found is None:
        chosen = np.unique(np.linspace(0, len(reading.images) - 1, SHOWN_PAIRS).round().astype(int))
        crops = tuple(FaceCrop(float(reading.times_s[one]), reading.images[one]) for one in chosen)
        return FaceView(*facts, crops, len(reading.pairs), number=reading.number)
    chosen = np.sort(np.argsort(-found.logits, kind="stable")[:SHOWN_PAIRS])
    crops = tuple(
        FaceCrop(float(reading.times_s[one]), reading.images[one], float(found.logits[one]), found.heat[one])
        for one in chosen
    )
    return FaceView(*facts, crops, len(reading.pairs), found.typical, reading.number)
