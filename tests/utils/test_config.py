"""Config sections: unknown keys are rejected, values are frozen, and each problem is reported in one line."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from utils.config import Section, describe_problems, section_at, shorten
from utils.features.config import FeatureConfig
from utils.features.face.features import FACE_VERSION
from utils.features.waveform import AudioFeatureConfig


class Inner(Section):
    """A nested section."""

    workers: int = Field(2, ge=0)
    name: str


class Outer(Section):
    """A whole config."""

    inner: Inner
    rate: float = 0.5


def problems_of(raw: dict) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(raw)
    return describe_problems(caught.value, Outer)


def test_unknown_key_is_reported_with_path_and_nearest_key() -> None:
    assert problems_of({"inner": {"name": "a", "worker": 3}}) == ["inner.worker: unknown key; did you mean 'workers'?"]
    assert problems_of({"inner": {"name": "a"}, "zzzz": 1}) == ["zzzz: unknown key; valid keys: inner, rate"]


def test_invalid_value_and_missing_key_are_both_reported() -> None:
    first, second = problems_of({"inner": {"workers": -1}})
    assert first == "inner.workers: got -1; input should be greater than or equal to 0"
    assert second == "inner.name: required, but absent"


def test_sections_are_frozen() -> None:
    section = Inner(name="a")
    with pytest.raises(ValidationError, match="frozen"):
        section.workers = 3


def test_section_at_returns_none_outside_sections() -> None:
    assert section_at(Outer, ("inner",)) is Inner
    assert section_at(Outer, ("rate", "x")) is None and section_at(Outer, ("nowhere",)) is None


def test_long_values_are_shortened() -> None:
    assert len(shorten("x" * 500)) == 60 and shorten([1]) == "[1]"


@pytest.mark.parametrize("values", [{"n_fft": 2049}, {"hop_length": 4096}, {"jpeg_quality": 0}, {"sample_rate_hz": 1}])
def test_invalid_feature_settings_are_rejected(values: dict) -> None:
    with pytest.raises(ValidationError):
        AudioFeatureConfig(**values)


def test_fingerprint_depends_on_every_field() -> None:
    base = FeatureConfig()
    assert base.fingerprint() == FeatureConfig().fingerprint() and len(base.fingerprint()) == 16
    seen = {base.fingerprint()}
    changes = [
        {"video": {"top_k": 64}},
        {"video": {"covariance": "bins"}},
        {"audio": {"sample_rate_hz": 16000}},
        {"audio": {"n_fft": 1024}},
        {"audio": {"hop_length": 256}},
        {"audio": {"n_mels": 64}},
        {"audio": {"image_size_px": 128}},
        {"audio": {"jpeg_quality": 90}},
        {"audio": {"length": "stream"}},
    ]
    for change in changes:
        other = FeatureConfig.model_validate(change)
        assert other.fingerprint() not in seen
        seen.add(other.fingerprint())
        (section, field), *_ = [(section, next(iter(value))) for section, value in change.items()]
        assert other.differences(base.stored()) == [
            f"{section}.{field}: {getattr(getattr(base, section), field)!r} stored, {change[section][field]!r} requested"
        ]


def test_faces_change_the_fingerprint_only_if_requested() -> None:
    without, with_faces = FeatureConfig(), FeatureConfig(face=True)
    assert without.fingerprint() == FeatureConfig(voice=True).fingerprint() != with_faces.fingerprint()
    assert "face" not in without.stored()
    assert with_faces.differences(without.stored()) == [f"face: None stored, {FACE_VERSION!r} requested"]


def test_derived_features_accept_true_and_false_and_keep_the_fingerprint() -> None:
    on, off = (FeatureConfig.model_validate({"utterance": value}) for value in (True, False))
    assert on.setting("utterance") is True and set(on.enabled()) - set(off.enabled()) == {"utterance"}
    assert on.fingerprint() == off.fingerprint() == FeatureConfig().fingerprint()
    assert FeatureConfig.model_validate(on.model_dump()) == on


@pytest.mark.parametrize("value", ["loud", 3, {}])
def test_invalid_value_of_a_derived_feature_is_reported(value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        FeatureConfig.model_validate({"utterance": value})
    (problem,) = describe_problems(caught.value, FeatureConfig)
    assert problem.startswith("utterance: ")
