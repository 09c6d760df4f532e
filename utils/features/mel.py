"""The mel-spectrogram image: 128 mel bands in decibels, scaled to grey levels and resized to a square.

Steps and order are those of the mel baseline, which both published systems share: power mel-spectrogram (librosa's defaults),
decibels relative to the loudest cell with a floor of -80 dB, min-max to 0..255 with truncation, then a bilinear resize.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from utils.features.base import FEATURES, MAX_HEADER_BYTES, SAMPLES, ArraySpec, ClipPass, Extractor, Feature
from utils.features.clip import ClipFacts
from utils.features.spectra import decibels, mel_filterbank, stft
from utils.features.waveform import AudioFeatureConfig

if TYPE_CHECKING:
    from utils.features.config import FeatureConfig

FRAMES_PER_BLOCK = 1024
FLOOR_DB = 80.0
"""Cells further below the loudest one are clipped to this depth (librosa's `top_db`)."""

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"

FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Second bytes of the JPG segments that declare the image size."""


@FEATURES.register("mel", AudioFeatureConfig)
class MelFeature(Feature):
    """The mel-spectrogram image. Its value is a one-channel JPG, so stored and direct extraction give equal pixels."""

    name, key, fed, inputs = "mel", "audio", (SAMPLES,), ("mel",)
    folder, suffix = "audio_feature", ".jpg"

    @classmethod
    def enabled(cls, config: FeatureConfig) -> bool:
        """Return true: both published systems use this feature, and the extractor always stores it."""
        return True

    @classmethod
    def stored_fields(cls, config: FeatureConfig) -> dict[str, Any]:
        """Return the whole audio section, which the waveform feature shares."""
        return {cls.key: config.audio.model_dump()}

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Declare one array: (1, H, W) uint8 grey levels, low frequencies in the first row."""
        size_px = self.config.audio.image_size_px
        return (ArraySpec("mel", (1, size_px, size_px), np.uint8),)

    def to_arrays(self, value: Any, facts: ClipFacts) -> Mapping[str, np.ndarray | None]:
        """Decode the JPG. Return `None` for a silent track, whose image is all zeros."""
        image = None if value is None or "silent" in facts.reasons else decode_image(value)
        return {"mel": None if image is None else image[None]}

    def extractor(self, clip: ClipPass) -> Extractor:
        """Return an extractor with an empty spectrogram."""
        return MelExtractor(self.config.audio, clip)

    def write(self, path: Path, value: Any) -> None:
        """Write the JPG."""
        path.write_bytes(value)

    def read(self, path: Path, facts: ClipFacts) -> Any:
        """Return the bytes of the JPG.

        Raises:
            ValueError: the JPG is truncated, or its header declares another size than the config.
        """
        side_px = self.config.audio.image_size_px
        if path.stat().st_size > 4 * side_px**2 + MAX_HEADER_BYTES:
            raise ValueError(f"{path} is larger than an image of {side_px} x {side_px} pixels")
        encoded = path.read_bytes()
        if not encoded.startswith(JPEG_START) or not encoded.endswith(JPEG_END):
            raise ValueError(f"{path} is not a complete JPG")
        # The decoder would allocate an image of any declared size.
        if declared_size(encoded) != (side_px, side_px):
            raise ValueError(f"{path} is not a JPG of {side_px} x {side_px} pixels")
        return encoded


class MelExtractor(Extractor):
    """Extractor that accumulates the mel-spectrogram and encodes its image."""

    def __init__(self, config: AudioFeatureConfig, clip: ClipPass) -> None:
        """Create an extractor without samples."""
        self._config = config
        self._clip = clip
        self._spectrogram = MelSpectrogram(config)

    def add_samples(self, samples: np.ndarray) -> None:
        """Append samples to the spectrogram."""
        self._spectrogram.feed(samples)

    def finish(self) -> Any:
        """Return the bytes of the JPG; `None` without audio."""
        if not self._clip.facts.n_samples:
            return None
        image = mel_image(self._spectrogram.power(), self._config.image_size_px)
        return encode_image(image, self._config.jpeg_quality)


@functools.lru_cache(maxsize=4)
def mel_basis(sample_rate_hz: int, n_fft: int, n_mels: int) -> np.ndarray:
    """Return the mel filterbank, (M, 1 + n_fft / 2) float32. Cached, since it takes as long as a short spectrogram."""
    return mel_filterbank(sample_rate_hz, n_fft, n_mels)


class MelSpectrogram:
    """Power mel-spectrogram computed in blocks. The result equals that of a single transform.

    It needs memory for one block of samples and the mel cells: 80 MB for an hour of audio. A single transform would
    need gigabytes.
    """

    def __init__(self, config: AudioFeatureConfig) -> None:
        """Initialise the buffer with half a window of zeros, because frames are centred."""
        self._config = config
        self._basis = mel_basis(config.sample_rate_hz, config.n_fft, config.n_mels)
        self._samples = [np.zeros(config.n_fft // 2, np.float32)]
        self._n_waiting = config.n_fft // 2
        self._cells: list[np.ndarray] = []

    def feed(self, samples: np.ndarray) -> None:
        """Append (S,) float32 samples at the config's rate."""
        self._samples.append(samples)
        self._n_waiting += len(samples)
        block = FRAMES_PER_BLOCK * self._config.hop_length
        if self._n_waiting >= block + self._config.n_fft:
            self._transform()

    def power(self) -> np.ndarray:
        """Finish the waveform and return its power mel-spectrogram, (M, T') float32 with T' = 1 + S // hop."""
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
            spectrum = stft(samples[: (n_frames - 1) * hop + n_fft], n_fft=n_fft, hop=hop, pad_mode=None)
            self._cells.append(self._basis @ (np.abs(spectrum) ** 2))
            samples = samples[n_frames * hop :]
        self._samples, self._n_waiting = [samples], len(samples)


def mel_image(power: np.ndarray, image_size_px: int) -> np.ndarray:
    """Return the grey-level image of a power mel-spectrogram.

    Args:
        power: (M, T') float32, not negative. It is overwritten to avoid copies of 80 MB per hour of audio.
        image_size_px: side of the image. The time axis is resized to it, regardless of the duration.

    Returns:
        (image_size_px, image_size_px) uint8, low frequencies in the first row; all zeros for a constant spectrogram.
    """
    loudest = power.max()
    for start in range(0, power.shape[1], FRAMES_PER_BLOCK):
        block = slice(start, start + FRAMES_PER_BLOCK)
        power[:, block] = decibels(power[:, block], loudest)
    level_db = np.maximum(power, power.max() - FLOOR_DB, out=power)
    if float(level_db.max()) == float(level_db.min()):
        return np.zeros((image_size_px, image_size_px), np.uint8)
    grey = cv2.normalize(level_db, level_db, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return cv2.resize(grey, (image_size_px, image_size_px), interpolation=cv2.INTER_LINEAR)


def encode_image(image: np.ndarray, jpeg_quality: int) -> bytes:
    """Encode a (H, W) uint8 image as a one-channel JPG."""
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    return encoded.tobytes()


def declared_size(encoded: bytes) -> tuple[int, int] | None:
    """Return height and width from the header of a JPG; `None` if its segments do not follow one another."""
    at = len(JPEG_START)
    while at + 9 <= len(encoded) and encoded[at] == 0xFF:
        if encoded[at + 1] in FRAME_MARKERS:
            return int.from_bytes(encoded[at + 5 : at + 7], "big"), int.from_bytes(encoded[at + 7 : at + 9], "big")
        at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return None


def decode_image(encoded: bytes) -> np.ndarray | None:
    """Decode a JPG to a (H, W) uint8 image. Return `None` if the bytes are not an image."""
    if not encoded:
        return None
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
