"""The config section `features`, and the fingerprint of the settings that determine stored features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import InitErrorDetails, PydanticCustomError
from typing_extensions import Self

from utils.config import Section
from utils.features.base import FEATURES, Feature, feature_classes, features_of
from utils.features.covariance import VideoFeatureConfig
from utils.features.speech_embedding import SpeechEncoderName
from utils.features.waveform import AudioFeatureConfig

FEATURE_VERSION = 1
"""Increase this if the same config gives different values than before. All features must then be extracted again."""


class FeatureConfig(Section):
    """All settings that determine the features of a clip.

    Each registered feature may have a key, `Feature.key`. Keys without a field below are validated with the type that the
    feature was registered with.
    """

    model_config = ConfigDict(extra="allow")

    video: VideoFeatureConfig = VideoFeatureConfig()
    audio: AudioFeatureConfig = AudioFeatureConfig()
    voice: bool = Field(False, description="also compute voice features from the waveform")
    speech_encoder: SpeechEncoderName = Field(
        None, description="also embed the speech with this frozen encoder: its name, or transformers/<model>"
    )
    face: bool = Field(False, description="also track the face in the middle of the clip, its mouth and the speech")

    @model_validator(mode="wrap")
    @classmethod
    def _validate_further_features(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Validate the keys of features that have no field here."""
        if not isinstance(values, Mapping):
            return handler(values)
        types = {
            feature.key: FEATURES.get(name).config_class
            for name, feature in feature_classes().items()
            if feature.key not in cls.model_fields
        }
        checked: dict[str, Any] = {}
        problems: list[InitErrorDetails] = []
        for key in values.keys() - cls.model_fields.keys():
            takes_section = isinstance(types.get(key), type) and issubclass(types[key], Section)
            value = {} if values[key] is True and takes_section else values[key]
            if key not in types:
                problem = PydanticCustomError("extra_forbidden", "unknown key")
                problems.append(InitErrorDetails(type=problem, loc=(key,), input=value))
            elif value is not None and value is not False:
                try:
                    checked[key] = TypeAdapter(types[key]).validate_python(value)
                except ValidationError as error:
                    problems += [
                        InitErrorDetails(
                            type=PydanticCustomError(one["type"], "{message}", {"message": one["msg"]}),
                            loc=(key, *one["loc"]),
                            input=one["input"],
                        )
                        for one in error.errors()
                    ]
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return handler({key: values[key] for key in values.keys() & cls.model_fields.keys()} | checked)

    @classmethod
    def known_keys(cls) -> list[str]:
        """Return the valid keys, including those of all registered features."""
        return list(dict.fromkeys([*cls.model_fields, *(feature.key for feature in feature_classes().values())]))

    def setting(self, key: str) -> Any:
        """Return the value of a feature's key; `None` if it is not set."""
        return getattr(self, key, None)

    def with_setting(self, key: str, value: Any) -> FeatureConfig:
        """Return a copy with another value for a feature's key."""
        return FeatureConfig.model_validate({**self.model_dump(), key: value})

    def with_inputs(self, inputs: Collection[str]) -> FeatureConfig:
        """Return a copy with the features enabled that provide these arrays.

        Raises:
            UsageError: a feature needs a setting that has no default.
        """
        config = self
        for name in features_of(inputs):
            feature = FEATURES.get(name).built_class
            config = feature.enable(config)
            feature(config).check()
        return config

    def enabled(self) -> tuple[str, ...]:
        """Return the names of the features that this config requests."""
        return tuple(name for name, feature in feature_classes().items() if feature.enabled(self))

    def build(self, names: Collection[str], stored_config: FeatureConfig | None = None) -> list[Feature]:
        """Return the features with these names, bound to this config."""
        return [FEATURES.get(name).built_class(self, stored_config) for name in names]

    def stored(self) -> dict[str, Any]:
        """Return the settings that determine the stored files, as plain types.

        Settings of derived features are not included, since these features are computed from the stored waveform.
        """
        fields: dict[str, Any] = {}
        for feature in feature_classes().values():
            fields |= feature.stored_fields(self)
        return {key: fields[key] for key in self.known_keys() if key in fields}

    def fingerprint(self) -> str:
        """Return a hash of the settings that determine the stored features, 16 hex digits."""
        canonical = json.dumps({"version": FEATURE_VERSION, **self.stored()}, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def adapted_to(self, stored: Mapping[str, Any]) -> FeatureConfig:
        """Return the config of the stored files if they are compatible: with a larger K or additional features."""
        config = self
        for feature in feature_classes().values():
            config = feature.adapt(config, stored)
        return config

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Return one line for each dotted field in which the `stored` settings of another config differ."""
        mine, theirs = flatten(self.stored()), flatten(other)
        return [
            f"{key}: {theirs.get(key)!r} stored, {mine.get(key)!r} requested"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        ]


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested mapping to one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat
