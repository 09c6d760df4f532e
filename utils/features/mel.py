"""The mel-spectrogram picture: 128 mel bands in decibels, scaled to grey levels and resized to a square.

The steps and their order are those of the mel baseline that both systems share: power mel-spectrogram (librosa's defaults),
decibels relative to the loudest cell with a floor of -80 dB, min-max to 0..255 with truncation, then a bilinear resize.
"""

from __future__ import annotations

import functools

import cv2
import librosa
import numpy as np

from utils.features.config import AudioFeatureConfig

FRAMES_PER_BLOCK = 1024
FLOOR_DB = 80.0
"""Everything further below the loudest cell is drawn at this depth (librosa's `top_db`)."""


@functools.lru_cache(maxsize=4)
def mel_basis(sample_rate_hz: int, n_fft: int, n_mels: int) -> np.ndarray:
    """Librosa's mel filter bank, (M, 1 + n_fft / 2) float32; making it costs as much as a short clip's spectrogram."""
    return librosa.filters.mel(sr=sample_rate_hz, n_fft=n_fft, n_mels=n_mels)


class MelSpectrogram:
    """A power mel-spectrogram made block by block, equal to that of the whole waveform.

    Memory is one block of samples and the mel cells themselves (80 MB for an hour), where the transform of a whole hour at
    once would take gigabytes.
    """

    def __init__(self, config: AudioFeatureConfig) -> None:
        """Start an empty waveform: librosa centres frames, so half a window of zeros comes first."""
        self._config = config
        self._basis = mel_basis(config.sample_rate_hz, config.n_fft, config.n_mels)
        self._samples = [np.zeros(config.n_fft // 2, np.float32)]
        self._n_waiting = config.n_fft // 2
        self._cells: list[np.ndarray] = []
        self._peak = 0.0

    def feed(self, samples: np.ndarray) -> None:
        """Append (S,) float32 samples at the config's rate."""
        if len(samples):
            self._peak = max(self._peak, float(np.abs(samples).max()))
        self._samples.append(samples)
        self._n_waiting += len(samples)
        block = FRAMES_PER_BLOCK * self._config.hop_length
        if self._n_waiting >= block + self._config.n_fft:
            self._transform()

    @property
    def silent(self) -> bool:
        """Whether no sample so far was other than zero."""
        return self._peak == 0.0

    def power(self) -> np.ndarray:
        """End the waveform and return its power mel-spectrogram, (M, T') float32 with T' = 1 + S // hop."""
        self._samples.append(np.zeros(self._config.n_fft // 2, np.float32))
        self._n_waiting += self._config.n_fft // 2
        self._transform()
        cells, self._cells = self._cells, []
        return np.concatenate(cells, axis=1)

    def _transform(self) -> None:
        samples = np.concatenate(self._samples)
        hop, n_fft = self._config.hop_length, self._config.n_fft
        n_frames = 1 + (len(samples) - n_fft) // hop
        if n_frames > 0:
            spectrum = librosa.stft(samples[: (n_frames - 1) * hop + n_fft], n_fft=n_fft, hop_length=hop, center=False)
            self._cells.append(self._basis @ (np.abs(spectrum) ** 2))
            samples = samples[n_frames * hop :]
        self._samples, self._n_waiting = [samples], len(samples)


def mel_image(power: np.ndarray, image_size_px: int) -> np.ndarray:
    """The grey picture of a power mel-spectrogram.

    Args:
        power: (M, T') float32, not negative; overwritten, since an hour's takes 80 MB and each copy as much again.
        image_size_px: the side of the picture; time is stretched to it, whatever the clip's length.

    Returns:
        (image_size_px, image_size_px) uint8, low frequencies in the first row; all zeros for a constant spectrogram.
    """
    loudest = power.max()
    for start in range(0, power.shape[1], FRAMES_PER_BLOCK):
        block = slice(start, start + FRAMES_PER_BLOCK)
        power[:, block] = librosa.power_to_db(power[:, block], ref=loudest, top_db=None)
    level_db = np.maximum(power, power.max() - FLOOR_DB, out=power)
    if float(level_db.max()) == float(level_db.min()):
        return np.zeros((image_size_px, image_size_px), np.uint8)
    grey = cv2.normalize(level_db, level_db, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return cv2.resize(grey, (image_size_px, image_size_px), interpolation=cv2.INTER_LINEAR)


def encode_picture(image: np.ndarray, jpeg_quality: int) -> bytes:
    """A (H, W) uint8 picture as the bytes of a one-channel JPG."""
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    return encoded.tobytes()


def decode_picture(encoded: bytes) -> np.ndarray | None:
    """The (H, W) uint8 picture of a JPG's bytes; `None` when they are not a picture."""
    if not encoded:
        return None
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
