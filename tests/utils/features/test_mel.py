"""The mel-spectrogram image, computed in blocks and compared with librosa on the whole waveform."""

from __future__ import annotations

import cv2
import librosa
import numpy as np
import pytest

from utils.features.mel import FRAMES_PER_BLOCK, MelSpectrogram, decode_image, encode_image, mel_image
from utils.features.waveform import AudioFeatureConfig

CONFIG = AudioFeatureConfig()
BLOCK = FRAMES_PER_BLOCK * CONFIG.hop_length


def noise(length: int) -> np.ndarray:
    return (0.3 * np.random.default_rng(length).standard_normal(length)).astype(np.float32)


def in_blocks(samples: np.ndarray, chunk: int, config: AudioFeatureConfig = CONFIG) -> MelSpectrogram:
    spectrogram = MelSpectrogram(config)
    for start in range(0, len(samples), chunk):
        spectrogram.feed(samples[start : start + chunk])
    return spectrogram


@pytest.mark.parametrize(
    "length",
    [
        1,
        511,
        512,
        2047,
        2048,
        22050,
        BLOCK - 1024,
        BLOCK - 1,
        BLOCK,
        BLOCK + 1023,
        BLOCK + 1024,
        BLOCK + 1025,
        2 * BLOCK + 300,
    ],
)
@pytest.mark.parametrize("chunk", [4096, 50_001])
def test_equals_librosa_on_the_whole_waveform(length: int, chunk: int) -> None:
    samples = noise(length)
    expected = librosa.feature.melspectrogram(y=samples, sr=CONFIG.sample_rate_hz)
    power = in_blocks(samples, chunk).power()
    assert power.shape == expected.shape == (128, 1 + length // CONFIG.hop_length)
    np.testing.assert_allclose(power, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_three_minutes_in_odd_chunks_equal_the_whole() -> None:
    samples = noise(22050 * 180)
    expected = librosa.feature.melspectrogram(y=samples, sr=CONFIG.sample_rate_hz)
    np.testing.assert_allclose(in_blocks(samples, 130_003).power(), expected, rtol=1e-3, atol=1e-6 * expected.max())


def test_other_windows_and_bands() -> None:
    config = AudioFeatureConfig(sample_rate_hz=16000, n_fft=512, hop_length=160, n_mels=40)
    samples = noise(16000 * 12 + 77)
    expected = librosa.feature.melspectrogram(y=samples, sr=16000, n_fft=512, hop_length=160, n_mels=40)
    np.testing.assert_allclose(
        in_blocks(samples, 9999, config).power(), expected, rtol=1e-4, atol=1e-6 * expected.max()
    )


def test_no_samples_give_one_empty_frame() -> None:
    spectrogram = MelSpectrogram(CONFIG)
    assert not mel_image(spectrogram.power(), 256).any()


def test_silence_gives_a_black_image() -> None:
    spectrogram = in_blocks(np.zeros(30_000, np.float32), 4096)
    assert not mel_image(spectrogram.power(), 64).any()


def test_image_is_decibels_below_the_maximum_scaled_to_grey() -> None:
    power = librosa.feature.melspectrogram(y=noise(40_000), sr=22050)
    level_db = librosa.power_to_db(power, ref=np.max)
    grey = ((level_db - level_db.min()) * (255.0 / (level_db.max() - level_db.min()))).astype(np.uint8)
    expected = cv2.resize(grey, (256, 256), interpolation=cv2.INTER_LINEAR)
    image = mel_image(power, 256)
    assert image.shape == (256, 256) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - expected.astype(int)).max() <= 1, "round-off may cross one grey level"


def test_low_frequencies_are_in_the_first_rows() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(22050) / 22050).astype(np.float32)
    rows = mel_image(in_blocks(tone, 4096).power(), 256).mean(axis=1)
    assert rows.argmax() < 40


def test_image_survives_jpg_encoding_and_a_damaged_jpg_is_none() -> None:
    image = mel_image(in_blocks(noise(50_000), 4096).power(), 256)
    encoded = encode_image(image, 95)
    decoded = decode_image(encoded)
    assert decoded.shape == (256, 256) and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - image.astype(int)).mean() < 6
    assert decode_image(b"") is None and decode_image(b"no picture") is None
