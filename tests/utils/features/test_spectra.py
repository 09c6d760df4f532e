"""Short-time spectra and filterbanks, compared with librosa and scipy."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from scipy.fft import dct
from scipy.ndimage import uniform_filter1d

from utils.features.spectra import cosine_basis, decibels, mel_filterbank, moving_mean, stft

NOISE = np.random.default_rng(0).standard_normal(100_003).astype(np.float32)


@pytest.mark.parametrize(("n_fft", "hop", "window"), [(512, 160, 320), (1024, 160, 800), (2048, 512, None)])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", None])
def test_spectrum_equals_librosa(n_fft, hop, window, pad_mode):
    centred = {"center": False} if pad_mode is None else {"pad_mode": pad_mode}
    expected = librosa.stft(NOISE, n_fft=n_fft, hop_length=hop, win_length=window, **centred)
    found = stft(NOISE, n_fft=n_fft, hop=hop, window=window, pad_mode=pad_mode)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("rate_hz", "n_fft", "n_mels", "low_hz", "high_hz"),
    [(22050, 2048, 128, 0, None), (16000, 512, 40, 60, 7600), (16000, 400, 80, 0, None), (16000, 512, 12, 50, 900)],
)
@pytest.mark.parametrize("equal_area", [True, False])
def test_filterbank_equals_librosa(rate_hz, n_fft, n_mels, low_hz, high_hz, equal_area):
    norm = "slaney" if equal_area else None
    expected = librosa.filters.mel(sr=rate_hz, n_fft=n_fft, n_mels=n_mels, fmin=low_hz, fmax=high_hz, norm=norm)
    found = mel_filterbank(rate_hz, n_fft, n_mels, low_hz=low_hz, high_hz=high_hz, equal_area=equal_area)
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_decibels_equal_librosa():
    power = np.abs(NOISE) ** 4
    power[:3] = 0
    for reference in (power.max(), np.float32(0)):
        np.testing.assert_array_equal(
            decibels(power, reference), librosa.power_to_db(power, ref=reference, top_db=None)
        )


def test_cosine_basis_gives_the_first_coefficients_of_the_cosine_transform():
    columns = NOISE[:400].reshape(40, 10).astype(float)
    np.testing.assert_allclose(cosine_basis(20, 40) @ columns, dct(columns, axis=0, norm="ortho")[:20], atol=1e-12)


@pytest.mark.parametrize("width", [1, 4, 5, 400])
@pytest.mark.parametrize(("pad_mode", "scipy_mode"), [("symmetric", "reflect"), ("constant", "constant")])
def test_moving_mean_equals_scipy(width, pad_mode, scipy_mode):
    rows = NOISE[:3000].reshape(3, 1000).astype(float)
    expected = uniform_filter1d(rows, width, axis=1, mode=scipy_mode)
    np.testing.assert_allclose(moving_mean(rows, width, pad_mode=pad_mode), expected, atol=1e-12)
    np.testing.assert_allclose(moving_mean(rows, width, hop=160, pad_mode=pad_mode), expected[:, ::160], atol=1e-12)
