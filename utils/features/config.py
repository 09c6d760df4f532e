"""The config section `features`, and the fingerprint that identifies how stored features were made."""

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
"""Increase it when the same config gives other numbers than before; all stored features must then be extracted again."""


class FeatureConfig(Section):
    """All settings that decide a clip's features.

    Any registered feature may have a key here, named by `Feature.key`: the keys of features that are not listed below are
    accepted and validated by the type that the feature was registered with.
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
            value = {} if values[key] is True and isinstance(types.get(key), type) else values[key]
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
        """Return the valid keys, those of every registered feature included."""
        return list(dict.fromkeys([*cls.model_fields, *(feature.key for feature in feature_classes().values())]))

    def setting(self, key: str) -> Any:
        """Return the value below a feature's key; `None` where it is not set."""
        return getattr(self, key, None)

    def with_setting(self, key: str, value: Any) -> FeatureConfig:
        """Return a copy with another value below a feature's key."""
        return FeatureConfig.model_validate({**self.model_dump(), key: value})

    def with_inputs(self, inputs: Collection[str]) -> FeatureConfig:
        """Return a copy in which the features behind these arrays are switched on.

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
        """Return the features of these names, bound to this config."""
        return [FEATURES.get(name).built_class(self, stored_config) for name in names]

    def stored(self) -> dict[str, Any]:
        """Return the settings that decide the files on disk, as plain types.

        Derived features are computed from the stored waveform, so their settings are left out.
        """
        fields: dict[str, Any] = {}
        for feature in feature_classes().values():
            fields |= feature.stored_fields(self)
        return {key: fields[key] for key in self.known_keys() if key in fields}

    def fingerprint(self) -> str:
        """Return 16 hex digits that differ whenever the stored features would."""
        canonical = json.dumps({"version": FEATURE_VERSION, **self.stored()}, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def adapted_to(self, stored: Mapping[str, Any]) -> FeatureConfig:
        """Return the config of stored files if they serve this config as well: a larger K, or more features."""
        config = self
        for feature in feature_classes().values():
            config = feature.adapt(config, stored)
        return config

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Return one line for each dotted field in which another `stored` differs from this config."""
        mine, theirs = flatten(self.stored()), flatten(other)
        return [
            f"{key}: {theirs.get(key)!r} there, {mine.get(key)!r} here"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        ]


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat
