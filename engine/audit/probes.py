"""The probes: which measurements each is given, and what the project offers against what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.audit.cross_validation import Evidence
from engine.audit.measure import Measurements
from engine.audit.random_encoder import random_features

FACT_MODELS = ("logistic", "trees")
HEAD_MODELS = ("linear_head",)
ALL_FACTS = ("size", "rates", "codecs", "bit rate", "durations", "audio minus video duration", "frame count")
LOGARITHMIC = ("_bytes", "_bps", "_px")

# Which clips can be used, and the matrices that the models see of them.
Inputs = tuple[np.ndarray, list[np.ndarray]]


@dataclass(frozen=True)
class Probe:
    """One question to the data.

    Attributes:
        name: what the probe looks at.
        inputs: from all measurements (and a seed) to the usable clips (n,) bool and their feature matrices.
        models: names of `CLASSIFIERS`.
        remedies: names of `REMEDIES` that should close this shortcut; the audit's second pass re-runs the probe when one
            of them was applied.
    """

    name: str
    inputs: Callable[[Sequence[Measurements], int], Inputs]
    models: tuple[str, ...]
    remedies: tuple[str, ...]

    def evidence(
        self, clips: Sequence[Measurements], target: np.ndarray, group: np.ndarray | None, seed: int
    ) -> Evidence:
        """The probe's features of the clips that have them, with their targets and groups."""
        usable, matrices = self.inputs(clips, seed)
        return Evidence(matrices, target[usable], None if group is None else group[usable], self.models)


def fact_matrix(rows: Sequence[dict[str, float | str]]) -> np.ndarray:
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


def _container(*families: str) -> Callable[[Sequence[Measurements], int], Inputs]:
    def inputs(clips: Sequence[Measurements], seed: int) -> Inputs:
        rows = [
            {f"{family}/{fact}": value for family in families for fact, value in clip.container[family].items()}
            for clip in clips
        ]
        return np.ones(len(clips), bool), [fact_matrix(rows)]

    return inputs


def _sound(family: str) -> Callable[[Sequence[Measurements], int], Inputs]:
    def inputs(clips: Sequence[Measurements], seed: int) -> Inputs:
        usable = np.array([family in clip.sound for clip in clips], dtype=bool)
        rows = [clip.sound[family] for clip in clips if family in clip.sound]
        return usable, [fact_matrix(rows)] if rows else []

    return inputs


def _array(name: str, transform: Callable[[np.ndarray, int], list[np.ndarray]]) -> Callable:
    def inputs(clips: Sequence[Measurements], seed: int) -> Inputs:
        arrays = [getattr(clip, name) for clip in clips]
        usable = np.array([array is not None for array in arrays], dtype=bool)
        present = [array for array in arrays if array is not None]
        return usable, transform(np.stack(present), seed) if present else []

    return inputs


def _as_it_is(array: np.ndarray, seed: int) -> list[np.ndarray]:
    return [array]


PROBES: tuple[Probe, ...] = (
    Probe("container: all facts", _container(*ALL_FACTS), FACT_MODELS, ("re_encode",)),
    Probe("container: size", _container("size"), FACT_MODELS, ("re_encode",)),
    Probe("container: rates", _container("rates"), FACT_MODELS, ("re_encode",)),
    Probe("container: codecs", _container("codecs"), FACT_MODELS, ("re_encode",)),
    Probe("container: bit rate", _container("bit rate"), FACT_MODELS, ("re_encode",)),
    Probe("container: durations", _container("durations"), FACT_MODELS, ("re_encode",)),
    Probe("audio minus video duration", _container("audio minus video duration"), FACT_MODELS, ("re_encode",)),
    Probe("duration", _container("duration"), FACT_MODELS, ("fixed_window",)),
    Probe("frame count", _container("frame count"), FACT_MODELS, ("fixed_window",)),
    Probe("leading silence", _sound("leading silence"), FACT_MODELS, ("trim_silence",)),
    Probe("trailing silence", _sound("trailing silence"), FACT_MODELS, ("trim_silence",)),
    Probe("loudness", _sound("loudness"), FACT_MODELS, ("level",)),
    Probe("band limit", _sound("band limit"), FACT_MODELS, ("band_limit", "resample")),
    Probe(
        "random encoder on mel",
        _array("mel", random_features),
        HEAD_MODELS,
        ("resample", "band_limit", "trim_silence", "fixed_window", "re_encode"),
    ),
    Probe("random encoder on frames", _array("frames", random_features), HEAD_MODELS, ("re_encode",)),
    Probe("first frame only", _array("first_frame", _as_it_is), FACT_MODELS, ("re_encode",)),
)
