"""Interface of a feature: its sources, its extraction, its stored form, and the arrays that it provides to a batch.

Each feature is a class registered in its own file of this package. The decoding pass, the feature store, samples, batches
and the selection of inputs use only these declarations, so adding a feature takes one file and one import.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from utils.features.clip import ClipFacts
from utils.registry import Registry

if TYPE_CHECKING:
    from utils.features.config import FeatureConfig
    from utils.media.decode import StreamFacts

MAX_HEADER_BYTES = 4096
"""Most bytes of a stored feature file that are not its values. Larger files are refused before they are read."""

FRAMES, SAMPLES = "frames", "samples"
"""Sources from the decoding pass: (H, W, 3) uint8 RGB frames, and (S,) float32 mono samples at the configured rate."""


@dataclass(frozen=True)
class MaskedArray:
    """One array of a sample.

    Attributes:
        values: zeros where `mask` is false.
        mask: bool over the leading axes of `values`; shape () for an array that is present or absent as a whole.
    """

    values: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class ArraySpec:
    """Declaration of one array that a feature provides to a batch.

    Attributes:
        name: the key in `Batch.inputs`.
        shape: shape of the array of one clip, padding included.
        dtype: numpy type.
        padded: whether clips may have fewer entries along the first axis. The mask then has shape (shape[0],), else ().
        fixed_point: whether the values are in [0, 1] and may be packed as uint16 in steps of 1/65535.
    """

    name: str
    shape: tuple[int, ...]
    dtype: type
    padded: bool = False
    fixed_point: bool = False

    def fill(self, array: np.ndarray | None) -> MaskedArray:
        """Return `array` padded with zeros to the declared shape, with its mask; zeros and a false mask without an array.

        An array that is not `padded` and has another shape counts as absent.
        """
        if not self.padded and array is not None and array.shape == self.shape:
            return MaskedArray(array, np.ones((), bool))
        values: np.ndarray = np.zeros(self.shape, self.dtype)
        mask = np.zeros(self.shape[:1] if self.padded else (), bool)
        if self.padded and array is not None:
            values[: len(array)] = array
            mask[: len(array)] = True
        return MaskedArray(values, mask)


@dataclass(frozen=True)
class ClipPass:
    """A running decoding pass, as passed to extractors.

    Attributes:
        path: the clip.
        facts: facts collected so far; complete when the extractors are finished.
        max_frames: number of frames after which the pass ends early; `None` for all.
        output_paths: feature name -> file to write during the pass, for features too large to keep in memory.
        sources: names of the features from which other requested features are derived.
        windowed: whether long clips are divided into windows.
        duration_s: the clip's true duration if an earlier pass measured it.
        timeline: whether the whole clip is also extracted second by second.
    """

    path: Path
    facts: StreamFacts
    max_frames: int | None = None
    output_paths: Mapping[str, Path] = field(default_factory=dict)
    sources: Collection[str] = ()
    windowed: bool = False
    duration_s: float | None = None
    timeline: bool = False


class Extractor:
    """Computation of one feature of one clip while the clip is decoded. It is a context manager; `close` always runs."""

    def add_frame(self, frame: np.ndarray) -> None:
        """Process the next (H, W, 3) uint8 RGB frame, a view of the decoder's memory in coded orientation."""
        raise NotImplementedError

    def needs_frame(self, time_s: float | None) -> bool:
        """Return whether `add_frame` must be called with the next frame, number `ClipPass.facts.n_frames` from 0.

        Frames that no extractor needs are not converted to RGB. The first frame is always passed.

        Args:
            time_s: presentation time of the frame; `None` if the file does not declare it.
        """
        return True

    def add_samples(self, samples: np.ndarray) -> None:
        """Process the next (S,) float32 mono samples in [-1, 1]."""
        raise NotImplementedError

    def finish(self) -> Any:
        """Return the value of the feature after the last frame and sample; `None` if the clip has none.

        Raises:
            MediaError: the clip cannot be read.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Release files."""

    def __enter__(self) -> Extractor:
        """Return the extractor itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Release files."""
        self.close()


class Feature(ABC):
    """Base class of all features.

    A *streamed* feature is computed from frames or samples and implements `extractor`. A *derived* feature is computed from
    other features and implements `derive`; it is recomputed from their stored form.

    Attributes:
        name: the registered name.
        key: the key of its settings below `features` in the config.
        fed: its sources: `FRAMES`, `SAMPLES`, or names of other features.
        inputs: names of the arrays that it provides to a batch.
        folder: folder of its files below `<split>_raw`; empty for a feature that is not stored.
        suffix: suffix of its files.
        named_by_stem: whether files are named after the stem of the clip instead of its full name.
        needs_length: whether extraction needs the number of frames before decoding.
        cached: whether a derived feature caches its results below the feature store. Extraction then computes them.
        windowed: whether the value of a window of a long clip can be computed. A derived feature inherits it from its sources.
    """

    name: ClassVar[str]
    key: ClassVar[str]
    fed: ClassVar[tuple[str, ...]]
    inputs: ClassVar[tuple[str, ...]]
    folder: ClassVar[str] = ""
    suffix: ClassVar[str] = ""
    named_by_stem: ClassVar[bool] = False
    needs_length: ClassVar[bool] = False
    cached: ClassVar[bool] = False
    windowed: ClassVar[bool] = False

    def __init__(self, config: FeatureConfig, stored_config: FeatureConfig | None = None) -> None:
        """Bind the feature to a config. `stored_config` is the config of compatible files on disk (see `adapt`)."""
        self.config = config
        self.stored_config = stored_config or config

    @classmethod
    def enabled(cls, config: FeatureConfig) -> bool:
        """Return whether the config requests the feature. The extractor stores requested features."""
        return config.setting(cls.key) not in (None, False)

    @classmethod
    def enable(cls, config: FeatureConfig) -> FeatureConfig:
        """Return the config with the feature enabled with its defaults."""
        return config if cls.enabled(config) else config.with_setting(cls.key, True)

    @classmethod
    def stored_fields(cls, config: FeatureConfig) -> dict[str, Any]:
        """Return the settings that determine the stored files. They are part of the fingerprint, under `key`."""
        setting = config.setting(cls.key)
        if not cls.folder or not cls.enabled(config):
            return {}
        return {cls.key: setting.model_dump() if hasattr(setting, "model_dump") else setting}

    @classmethod
    def adapt(cls, config: FeatureConfig, stored: Mapping[str, Any]) -> FeatureConfig:
        """Return the config of files with `FeatureConfig.stored` settings if it is compatible with `config`, else `config`."""
        optional = bool(cls.folder) and cls.key in stored and not cls.enabled(config)
        return config.with_setting(cls.key, stored[cls.key]) if optional else config

    def check(self) -> None:  # noqa: B027  (most features need only their defaults)
        """Check that the config has the settings that the feature needs.

        Raises:
            UsageError: a setting is missing; the message names it.
        """

    def require(self) -> None:  # noqa: B027  (most features need no weights or packages)
        """Check that weights and packages are installed. Called before any clip is read.

        Raises:
            UsageError: a part is missing; the message names it.
        """

    @abstractmethod
    def arrays(self) -> tuple[ArraySpec, ...]:
        """Return the declarations of the arrays named by `inputs`."""

    @abstractmethod
    def to_arrays(self, value: Any, facts: ClipFacts) -> Mapping[str, np.ndarray | None]:
        """Return the unpadded arrays of a value. An array without information is `None`."""

    def reasons(self, value: Any, facts: ClipFacts) -> frozenset[str]:
        """Return the reason codes that a value adds to those of its clip, for example why the feature is absent."""
        return frozenset()

    def extractor(self, clip: ClipPass) -> Extractor:
        """Return an extractor for a clip. Only streamed features implement this."""
        raise NotImplementedError

    def derive(self, sources: Mapping[str, Any], cache_dir: Path | None) -> Any:
        """Compute the value from the values of the features in `fed`. Only derived features implement this.

        Args:
            sources: feature name -> value; `None` if the clip lacks the feature.
            cache_dir: folder for expensive results, keyed by content; `None` disables the cache.
        """
        raise NotImplementedError

    def expected(self, facts: ClipFacts) -> bool:
        """Return whether a clip with these facts has a stored file. Durations and frame rates are not considered."""
        return facts.n_frames > 0 if FRAMES in self.fed else facts.has_audio

    def write(self, path: Path, value: Any) -> None:
        """Write a value to a file. The value is `None` for a clip without the feature."""
        raise NotImplementedError

    def read(self, path: Path, facts: ClipFacts) -> Any:
        """Read a value written by `write`.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is damaged or has another format.
        """
        raise NotImplementedError

    @property
    def is_derived(self) -> bool:
        """Whether the feature is computed from other features."""
        return not {FRAMES, SAMPLES} & set(self.fed)


FEATURES: Registry[Any, Feature] = Registry("feature")
"""Registered features. A name maps to the type of the settings and to the `Feature` class."""


def feature_classes() -> dict[str, type[Feature]]:
    """Return all registered feature classes by name."""
    return {name: FEATURES.get(name).built_class for name in FEATURES}


def features_of(inputs: Collection[str]) -> tuple[str, ...]:
    """Return the names of the features that provide these arrays.

    Raises:
        KeyError: an array is provided by no feature.
    """
    owners = {array: name for name, feature in feature_classes().items() for array in feature.inputs}
    return tuple(dict.fromkeys(owners[array] for array in inputs))


def with_sources(names: Collection[str]) -> tuple[str, ...]:
    """Return these features and all their sources, sources first."""
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in ordered or name in (FRAMES, SAMPLES):
            return
        for source in FEATURES.get(name).built_class.fed:
            visit(source)
        ordered[name] = None

    for name in names:
        visit(name)
    return tuple(ordered)
