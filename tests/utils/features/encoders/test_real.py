"""The real encoders. Each test needs the packages of its encoder (`make encoders`)."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from utils.errors import UsageError
from utils.features.encoders import SPEECH_ENCODERS, speech_encoder

MOMENTS = {"google_speech_embedding": (16, 96), "ge2e": (5, 256), "whisper_tiny": (100, 384)}


def needs(name: str) -> pytest.MarkDecorator:
    modules = SPEECH_ENCODERS.get(name).built_class.needs
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(absent), reason=f"without {', '.join(absent)}")


def two_seconds(seed: int = 0) -> np.ndarray:
    """Return noisy harmonics with an amplitude modulation."""
    time_s = np.arange(32_000) / 16_000
    harmonics = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 15))
    noise = np.random.default_rng(seed).standard_normal(len(time_s))
    return (0.05 * (1.1 + np.sin(2 * np.pi * 4 * time_s)) * harmonics + 0.005 * noise).astype(np.float32)


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in MOMENTS])
def test_packaged_encoders_give_finite_embeddings(name):
    encoder = speech_encoder(name)
    moments = encoder.encode(two_seconds())
    assert moments.shape == MOMENTS[name] and moments.dtype == np.float32
    assert np.isfinite(moments).all() and moments.std() > 0
    np.testing.assert_array_equal(encoder.encode(two_seconds()), moments)
    assert not np.array_equal(encoder.encode(two_seconds(1)), moments)
    for short in (0, 100, 5000):
        assert np.isfinite(encoder.encode(two_seconds()[:short])).all()
    assert "==" in encoder.version


@needs("transformers")
@pytest.mark.parametrize("kind", ["wavlm", "wav2vec2", "hubert"])
def test_a_local_transformers_folder_is_an_encoder(kind, tmp_path):
    import torch
    import transformers

    names = {"wavlm": "WavLM", "wav2vec2": "Wav2Vec2", "hubert": "Hubert"}
    config = getattr(transformers, f"{names[kind]}Config")(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    torch.manual_seed(0)
    getattr(transformers, f"{names[kind]}Model")(config).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path)
    encoder = speech_encoder(f"transformers/{tmp_path}")
    moments = encoder.encode(two_seconds())
    assert moments.shape == (99, 24) and np.isfinite(moments).all()
    np.testing.assert_array_equal(encoder.encode(two_seconds()), moments)
    before = encoder.version
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text() + "\n")
    assert SPEECH_ENCODERS.get("transformers").built_class(encoder.name).version != before


@needs("transformers")
def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no usable model"):
        speech_encoder(f"transformers/{tmp_path}")
