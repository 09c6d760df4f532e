"""Speech embeddings of clips: cached by content, recomputed after any change, and not computed unless requested."""

from __future__ import annotations

import io

import numpy as np
import pytest

from dataset.batch import collate
from dataset.samples import InputLayout, make_sample
from tests.fake_encoder import FAKE, BandsEncoder, fake_encoder  # noqa: F401  (a fixture)
from tests.support import FEATURE_CONFIG, FEATURES, write_video
from utils.features.config import FeatureConfig
from utils.features.encoders import speech_encoder
from utils.features.extract import extract_clip
from utils.features.speech_embedding import embedding_of_pcm, embedding_size
from utils.features.voice import MAX_WINDOWS

pytestmark = pytest.mark.usefixtures("fake_encoder")

PCM = (8000 * np.random.default_rng(0).normal(size=48_000)).clip(-32767, 32767).astype(np.int16)


def test_embeddings_are_cached_by_encoder_version_and_waveform(tmp_path, monkeypatch):
    folder = tmp_path / "entry"
    first = embedding_of_pcm(PCM, 16_000, FAKE, folder)
    assert first.shape == (2, 6) == (2, embedding_size(FAKE)) and embedding_size(None) == 0
    calls = BandsEncoder.calls
    np.testing.assert_array_equal(embedding_of_pcm(PCM, 16_000, FAKE, folder), first)
    assert BandsEncoder.calls == calls
    embedding_of_pcm(PCM[:-1], 16_000, FAKE, folder)
    embedding_of_pcm(PCM, 22_050, FAKE, folder)
    monkeypatch.setattr(speech_encoder(FAKE), "version", "2", raising=False)
    embedding_of_pcm(PCM, 16_000, FAKE, folder)
    assert len(list(folder.iterdir())) == 4 and BandsEncoder.calls > calls


def npy(array):
    """Return the content of an `.npy` file."""
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def test_a_damaged_or_unwritable_cache_is_ignored(tmp_path):
    first = embedding_of_pcm(PCM, 16_000, FAKE, tmp_path)
    (entry,) = tmp_path.iterdir()
    infinite, whole = first.copy(), npy(first)
    infinite[0, 0] = np.inf
    archive = io.BytesIO()
    np.savez(archive, first)
    deep = whole.replace(b"(2, 6)", b"(" * 6)
    others = [npy(array) for array in (infinite, first[:, :-1], first.astype(np.float64), np.float32(1))]
    for content in (b"", whole[:-3], b"no array", archive.getvalue(), deep, *others):
        entry.write_bytes(content)
        np.testing.assert_array_equal(embedding_of_pcm(PCM, 16_000, FAKE, tmp_path), first)
    file = tmp_path / "file"
    file.write_text("in the way")
    np.testing.assert_array_equal(embedding_of_pcm(PCM, 16_000, FAKE, file / "below"), first)


def test_config_with_an_encoder_uses_the_same_stored_features():
    assert (
        FeatureConfig.model_validate({**FEATURES, "speech_encoder": FAKE}).fingerprint() == FEATURE_CONFIG.fingerprint()
    )


def test_no_encoder_runs_unless_the_config_names_one(tmp_path):
    calls = BandsEncoder.calls
    clip = extract_clip(write_video(tmp_path / "a.mp4", 0), FEATURE_CONFIG)
    assert "speech_embedding" not in clip.values and BandsEncoder.calls == calls


def test_clips_without_audio_have_zeros_and_no_window(tmp_path):
    config = FeatureConfig.model_validate({**FEATURES, "speech_encoder": FAKE})
    paths = [write_video(tmp_path / f"{audio}.mp4", 0, audio=audio) for audio in (True, False)]
    layout = InputLayout(config, ("speech_embedding",))
    samples = [make_sample(0, 0.0, extract_clip(path, config), layout) for path in paths]
    embedding = collate(samples).inputs["speech_embedding"]
    assert embedding.values.shape == (2, MAX_WINDOWS, 6)
    assert embedding.mask.sum(dim=1).tolist() == [1, 0]
    assert embedding.values[0, 0].any() and not embedding.values[1].any() and not embedding.values[0, 1:].any()
