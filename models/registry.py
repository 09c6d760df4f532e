"""Registry of detectors, and their construction from a config section."""

from __future__ import annotations

from typing import Any

from models.base import DetectorConfig, DetectorModel
from utils.features.config import FeatureConfig
from utils.registry import Registry

MODELS: Registry[DetectorConfig, DetectorModel] = Registry("model")
DEFAULT_MODEL = "ffdv_cov"
"""The default `name` of a model section."""


def model_config(section: dict[str, Any]) -> DetectorConfig:
    """Return the typed config of a model section. Its `name` selects the class.

    Raises:
        UsageError: the name is unknown.
        pydantic.ValidationError: a key is unknown or a value is invalid.
    """
    return MODELS.get(section.get("name", DEFAULT_MODEL)).config_class.model_validate(section)


def build_model(
    section: dict[str, Any], features: FeatureConfig, *, pretrained: bool | str | None = None
) -> DetectorModel:
    """Build the detector that a model section describes.

    Args:
        section: the config section, including `name`.
        features: feature config, which sets K and the image size.
        pretrained: overrides the section's value. Use `False` if checkpoint weights are loaded afterwards.
    """
    if pretrained is not None:
        section = {**section, "pretrained": pretrained}
    config = model_config(section)
    return MODELS.get(config.name).built_class(config, features)
