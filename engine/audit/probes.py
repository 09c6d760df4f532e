"""The probes, with the measurements that each of them uses and the mitigations of the shortcuts that it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from engine.audit.measure import FactRow, Measurements
from engine.audit.probe_evaluation import ProbeData
from engine.audit.random_encoder import random_features

FACT_MODELS = ("logistic", "tree")
HEAD_MODELS = ("linear_head",)
ALL_FACTS = ("size", "rates", "codecs", "bit rate", "durations", "audio minus video duration", "frame count")
LOGARITHMIC = ("_bytes", "_bps", "_px")
FRAME_CAVEAT = "a frame also shows the forgery, so the probe may detect the forgery itself"
AUDIO_CAVEAT = "if voices are forged, the probe may detect the forgery itself"


@dataclass(frozen=True)
class Probe:
    """A shortcut test, based either on facts of some families or on one array per clip.

    Attributes:
        name: Name shown in reports.
        mitigations: Names of `MITIGATIONS` that should remove this shortcut.
        families: Keys of `Measurements.container` or `Measurements.audio`; empty for an array probe.
        array: Attribute of `Measurements` that contains the array; empty for a fact probe.
        encode: Function from stacked arrays and a seed to feature matrices.
        models: Names of `CLASSIFIERS`.
        caveat: Caution added to a finding of this probe.
    """

    name: str
    mitigations: tuple[str, ...]
    families: tuple[str, ...] = ()
    array: str = ""
    encode: Callable[[np.ndarray, int], list[np.ndarray]] = lambda array, seed: [array]
    models: tuple[str, ...] = FACT_MODELS
    caveat: str = ""

    def data(self, clips: Sequence[Measurements], target: np.ndarray, group: np.ndarray | None, seed: int) -> ProbeData:
        """Return features, targets and groups of the clips that have this probe's measurements."""
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
        return ProbeData(matrices, target[usable], None if group is None else group[usable], self.models)

    def facts(self, clip: Measurements) -> FactRow | None:
        """Return the clip's facts of the probe's families; `None` if a family is missing (a clip without audio)."""
        known = clip.container | clip.audio
        if not all(family in known for family in self.families):
            return None
        return {fact: value for family in self.families for fact, value in known[family].items()}

    def medians(self, clips: Sequence[Measurements], target: np.ndarray) -> dict[str, dict[str, float]]:
        """Return the median of each numeric fact among the reals and among the fakes that have it."""
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
    """Encode facts as a finite matrix: (n, F) float64.

    Text is one-hot encoded. Facts whose name ends in one of `LOGARITHMIC` are log-transformed. A missing number is
    replaced by the median and flagged in an extra column, since a missing value may itself be informative.
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
    Probe("DC offset", ("remove_dc",), ("DC offset",)),
    Probe("crest factor", (), ("crest factor",), caveat=AUDIO_CAVEAT),
    Probe("band limit", ("band_limit", "resample"), ("band limit",)),
    Probe(
        "random encoder on mel",
        ("fixed_window", "trim_silence", "band_limit"),
        array="mel",
        encode=random_features,
        models=HEAD_MODELS,
        caveat=f"a trained network with no higher AUC has learned nothing more; {AUDIO_CAVEAT}",
    ),
    Probe(
        "random encoder on frames",
        ("re_encode",),
        array="frames",
        encode=random_features,
        models=HEAD_MODELS,
        caveat=FRAME_CAVEAT,
    ),
    Probe("first frame only", ("re_encode",), array="first_frame", caveat=FRAME_CAVEAT),
)
