"""Samples: the arrays of a clip with their masks, generic over the registered features. Neither torch nor a model is needed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from utils.features.base import ArraySpec, Feature, MaskedArray, features_of, with_sources
from utils.features.clip import ClipFacts, ClipFeatures
from utils.features.config import FeatureConfig
from utils.media.errors import join_reasons

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Sample:
    """One clip, ready for collation.

    Attributes:
        index: row of the clip in its split's label table.
        target: 1.0 for fake, 0.0 for real, NaN if unknown.
        inputs: array name -> values and mask, as declared by the features (see `ArraySpec`).
    """

    index: int
    target: float
    inputs: Mapping[str, MaskedArray]


class InputLayout:
    """The inputs of a run: the features to compute, and the arrays that they provide.

    Attributes:
        config: settings of the features.
        features: names of the features.
        plan: names of the features and of all their sources, sources first.
        windowed: whether long clips are scored in windows: every feature can be computed for a window.
    """

    def __init__(self, config: FeatureConfig, inputs: Collection[str]) -> None:
        """Find the registered features that provide the inputs.

        Args:
            config: settings of the features.
            inputs: names of the arrays, usually `DetectorModel.inputs`.

        Raises:
            UsageError: a feature's setting is missing.
        """
        self.config = config
        self.features = features_of(inputs)
        self._declared: list[tuple[Feature, list[ArraySpec]]] = []
        for feature in config.build(self.features):
            feature.check()
            self._declared.append((feature, [spec for spec in feature.arrays() if spec.name in inputs]))
        self.plan = with_sources(self.features)
        self.windowed = all(feature.windowed or feature.is_derived for feature in config.build(self.plan))

    @property
    def specs(self) -> tuple[ArraySpec, ...]:
        """The declarations of the inputs."""
        return tuple(spec for _, specs in self._declared for spec in specs)

    def facts(self, clip: ClipFeatures) -> ClipFacts:
        """Return the facts of a clip with the reason codes of its features, see `Feature.reasons`."""
        if clip.facts.status == "failed":
            return clip.facts
        added: set[str] = set()
        for feature, _ in self._declared:
            added |= feature.reasons(clip.values.get(feature.name), clip.facts)
        if not added:
            return clip.facts
        status = "partial" if clip.facts.status == "ok" else clip.facts.status
        return replace(clip.facts, status=status, reason=join_reasons({*clip.facts.reasons, *added}))

    def arrays(self, clip: ClipFeatures) -> dict[str, MaskedArray]:
        """Return the arrays of a clip. A missing modality becomes zeros with a false mask."""
        filled: dict[str, MaskedArray] = {}
        for feature, specs in self._declared:
            arrays = feature.to_arrays(clip.values.get(feature.name), clip.facts)
            filled |= {spec.name: spec.fill(arrays[spec.name]) for spec in specs}
        return filled


def make_sample(index: int, target: float, clip: ClipFeatures, layout: InputLayout) -> Sample:
    """Return the sample of a clip.

    Args:
        index: row of the clip.
        target: 1.0, 0.0 or NaN.
        clip: features from the extractor or the feature store.
        layout: inputs of the run.
    """
    return Sample(index, target, layout.arrays(clip))


def make_samples(index: int, target: float, clip: ClipFeatures, layout: InputLayout) -> list[tuple[Sample, ClipFacts]]:
    """Return the samples of a clip with its facts: one, or one per window and face of a clip with several."""
    if not clip.windows:
        return [(make_sample(index, target, clip, layout), layout.facts(clip))]
    return [
        (make_sample(index, target, face, layout), replace(layout.facts(face), window=number))
        for number, window in enumerate(clip.windows)
        for face in window.faces
    ]


def stacked(samples: Sequence[Sample]) -> dict[str, MaskedArray]:
    """Stack the inputs of B samples of one layout: values (B, ...) and masks (B, ...) by array name."""
    return {
        name: MaskedArray(
            np.stack([sample.inputs[name].values for sample in samples]),
            np.stack([sample.inputs[name].mask for sample in samples]),
        )
        for name in samples[0].inputs
    }


def grouped(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    """Group a stream of items into lists of `size`; the last list may be shorter."""
    waiting: list[ItemT] = []
    for item in items:
        waiting.append(item)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
