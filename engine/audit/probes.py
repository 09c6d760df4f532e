"""The probes: which measurements each is given, and what the project offers against what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from engine.audit.cross_validation import Evidence
from engine.audit.measure import FactRow, Measurements
from engine.audit.random_encoder import random_features

FACT_MODELS = ("logistic", "tree")
HEAD_MODELS = ("linear_head",)
ALL_FACTS = ("size", "rates", "codecs", "bit rate", "durations", "audio minus video duration", "frame count")
LOGARITHMIC = ("_bytes", "_bps", "_px")
STILL = "a frame shows the forgery too, so this may be the forgery seen by a crude eye"
HEARD = "where voices are forged, this may be the forgery heard by a crude ear"


@dataclass(frozen=True)
class Probe:
    """One question to the data: about facts of some families, or about one array per clip.

    Attributes:
        name: what the probe looks at.
        remedies: names of `REMEDIES` that should close this shortcut.
        families: families of `Measurements.container` or `Measurements.sound`; empty for a probe of arrays.
        array: attribute of `Measurements` that holds the array; empty for a probe of facts.
        encode: from stacked arrays and a seed to feature matrices.
        models: names of `CLASSIFIERS`.
        caveat: what to keep in mind when the probe finds something.
    """

    name: str
    remedies: tuple[str, ...]
    families: tuple[str, ...] = ()
    array: str = ""
    encode: Callable[[np.ndarray, int], list[np.ndarray]] = lambda array, seed: [array]
    models: tuple[str, ...] = FACT_MODELS
    caveat: str = ""

    def evidence(
        self, clips: Sequence[Measurements], target: np.ndarray, group: np.ndarray | None, seed: int
    ) -> Evidence:
        """The probe's features of the clips that have them, with their targets and groups."""
        if self.families:
            rows = [self.facts(clip) for clip in clips]
            usable = np.array([row is not None for row in rows], dtype=bool)
            present = [row for row in rows if row is not None]
            matrices = [fact_matrix(present)] if present else []
        else:
            arrays = [getattr(clip, self.array) for clip in clips]
            usable = np.array([array is not None for array in arrays], dtype=bool)
            matrices = (
                self.encode(np.stack([array for array in arrays if array is not None]), seed) if usable.any() else []
            )
        return Evidence(matrices, target[usable], None if group is None else group[usable], self.models)

    def facts(self, clip: Measurements) -> FactRow | None:
        """The clip's facts of the probe's families; `None` when it lacks one of them (no sound)."""
        known = clip.container | clip.sound
        if not all(family in known for family in self.families):
            return None
        return {fact: value for family in self.families for fact, value in known[family].items()}

    def medians(self, clips: Sequence[Measurements], target: np.ndarray) -> dict[str, dict[str, float]]:
        """The median of each numeric fact among the reals and among the fakes that have it."""
        rows = (
            [(self.facts(clip) or {}, kind) for clip, kind in zip(clips, target, strict=True)] if self.families else []
        )
        medians: dict[str, dict[str, float]] = {}
        for name in sorted(set().union(*(row for row, _ in rows))):
            values = [(row.get(name, np.nan), kind) for row, kind in rows]
            of_kind = [
                [
                    value
                    for value, kind in values
                    if kind == wanted and isinstance(value, int | float) and isfinite(value)
                ]
                for wanted in (0, 1)
            ]
            if all(of_kind):
                medians[name] = {"real": float(np.median(of_kind[0])), "fake": float(np.median(of_kind[1]))}
        return medians


def fact_matrix(rows: Sequence[FactRow]) -> np.ndarray:
    """Facts as finite numbers: (n, F) float64.

    Text becomes one column per value. Numbers whose name ends in one of `LOGARITHMIC` are taken as logarithms; where one is
    absent the median stands in and a column says so, since absence is a fact as well.
    """
    columns = []
    for name in sorted(set().union(*rows)):
        values = [row.get(name, float("nan")) for row in rows]
        if any(isinstance(value, str) for value in values):
            texts = np.array([str(value) for value in values])
            columns += [(texts == text).astype(float) for text in np.unique(texts)]
            continue
        numbers = np.array(values, dtype=float)
        if name.endswith(LOGARITHMIC):
            numbers = np.log1p(np.maximum(numbers, 0))
        absent = ~np.isfinite(numbers)
        if absent.any():
            columns.append(absent.astype(float))
            numbers = np.where(absent, np.median(numbers[~absent]) if (~absent).any() else 0.0, numbers)
        columns.append(numbers)
    return np.stack(columns, axis=1)


PROBES: tuple[Probe, ...] = (
    Probe("container: all facts", ("re_encode",), ALL_FACTS),
    Probe("container: size", ("re_encode",), ("size",)),
    Probe("container: rates", ("re_encode",), ("rates",)),
    Probe("container: codecs", ("re_encode",), ("codecs",)),
    Probe("container: bit rate", ("re_encode",), ("bit rate",)),
    Probe("container: durations", ("re_encode", "fixed_window"), ("durations",)),
    Probe("audio minus video duration", ("re_encode",), ("audio minus video duration",)),
    Probe("duration", ("fixed_window",), ("duration",)),
    Probe("frame count", ("fixed_window",), ("frame count",)),
    Probe("leading silence", ("trim_silence",), ("leading silence",)),
    Probe("trailing silence", ("trim_silence",), ("trailing silence",)),
    Probe("loudness", ("level",), ("loudness",)),
    Probe("crest factor", (), ("crest factor",), caveat=HEARD),
    Probe("band limit", ("band_limit", "resample"), ("band limit",)),
    Probe(
        "random encoder on mel",
        ("fixed_window", "trim_silence", "band_limit"),
        array="mel",
        encode=random_features,
        models=HEAD_MODELS,
        caveat=f"a trained network that reaches no more has learned no more; {HEARD}",
    ),
    Probe(
        "random encoder on frames",
        ("re_encode",),
        array="frames",
        encode=random_features,
        models=HEAD_MODELS,
        caveat=STILL,
    ),
    Probe("first frame only", ("re_encode",), array="first_frame", caveat=STILL),
)
