"""Registry: registration, lookup and suggestions for unknown names."""

from __future__ import annotations

import pytest

from utils.errors import UsageError
from utils.registry import Registry


class Settings:
    """A config section."""


@pytest.fixture
def registry() -> Registry:
    registry: Registry = Registry("model")
    for name in ("mel_baseline", "ffdv_cov"):
        registry.register(name, Settings)(type(name, (), {}))
    return registry


def test_registered_class_and_config_are_returned(registry: Registry) -> None:
    class Third:
        pass

    assert registry.register("third", Settings)(Third) is Third
    assert registry.get("third").built_class is Third
    assert registry.get("third").config_class is Settings
    assert list(registry) == ["ffdv_cov", "mel_baseline", "third"]


def test_duplicate_name_is_rejected(registry: Registry) -> None:
    with pytest.raises(ValueError, match="two models are registered as 'ffdv_cov'"):
        registry.register("ffdv_cov", Settings)(Settings)


def test_unknown_name_suggests_the_nearest_and_lists_all(registry: Registry) -> None:
    with pytest.raises(UsageError, match=r"unknown model 'ffdv_cow'; did you mean 'ffdv_cov'\? .*mel_baseline"):
        registry.get("ffdv_cow")
    with pytest.raises(UsageError, match=r"^unknown model 'zzz' \(registered: ffdv_cov, mel_baseline\)$"):
        registry.get("zzz")
