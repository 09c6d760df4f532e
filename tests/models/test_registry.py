"""The model registry: names, duplicates and suggestions."""

from __future__ import annotations

import pytest

from models import MODELS, model_config
from models.base import DetectorConfig, DetectorModel
from utils.errors import UsageError
from utils.registry import Registry


def test_both_systems_are_registered_with_config_and_class():
    assert {"ffdv_cov", "mel_baseline"} <= set(MODELS)
    for name in MODELS:
        entry = MODELS.get(name)
        assert issubclass(entry.config_class, DetectorConfig) and issubclass(entry.built_class, DetectorModel)
        assert entry.config_class.model_fields["name"].default == name


def test_registering_a_name_twice_is_an_error():
    registry = Registry("model")
    registry.register("one", DetectorConfig)(DetectorModel)
    with pytest.raises(ValueError, match="two models are registered as 'one'"):
        registry.register("one", DetectorConfig)(DetectorModel)


@pytest.mark.parametrize("name", ["ffdv_cow", "nothing", 7, ["ffdv_cov"], None])
def test_unknown_name_lists_the_known_names(name):
    with pytest.raises(UsageError, match=r"registered: .*ffdv_cov.*mel_baseline"):
        model_config({"name": name})


def test_the_nearest_name_is_suggested():
    with pytest.raises(UsageError, match="did you mean 'mel_baseline'"):
        model_config({"name": "mel_base_line"})


def test_section_without_a_name_selects_the_default_model():
    assert model_config({"alpha": 2.0}).name == "ffdv_cov"
