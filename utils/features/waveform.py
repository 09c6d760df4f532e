"""The mono waveform of a clip: config section, WAV file, and samples from which other features are derived."""

from __future__ import annotations

import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from utils.config import Section
from utils.features.base import FEATURES, SAMPLES, ArraySpec, ClipPass, Extractor, Feature
from utils.features.clip import ClipFacts

if TYPE_CHECKING:
    from utils.features.config import FeatureConfig

LONGEST_PCM_S = 600
"""Maximum length of the waveform for derived features. Later audio is discarded."""

LONGEST_WINDOWED_S = 7200
"""Maximum length of the waveform of a clip that is scored in windows: 320 MB at 22,050 Hz."""


class AudioFeatureConfig(Section):
    """Settings of the waveform and of the mel-spectrogram image. The defaults are librosa's, as in both published systems."""

    sample_rate_hz: int = Field(22050, ge=4000, le=96000)
    n_fft: int = Field(2048, ge=64, multiple_of=2)
    hop_length: int = Field(512, ge=16)
    n_mels: int = Field(128, ge=8, le=512)
    image_size_px: int = Field(256, ge=16, le=2048, description="width and height of the image")
    jpeg_quality: int = Field(95, ge=1, le=100)
    length: Literal["clip", "stream"] = Field(
        "clip", description="clip: pad with silence to the clip's duration in steps of 10 ms, as the published code did"
    )

    @model_validator(mode="after")
    def _windows_leave_no_gap(self) -> AudioFeatureConfig:
        if self.hop_length > self.n_fft:
            raise ValueError(
                f"hop_length {self.hop_length} is longer than n_fft {self.n_fft}: samples would be skipped"
            )
        return self


@dataclass(frozen=True)
class Pcm:
    """The first `LONGEST_PCM_S` seconds of a waveform.

    Attributes:
        samples: (S,) int16 mono, exactly as stored in a 16-bit WAV file.
        rate_hz: sample rate.
    """

    samples: np.ndarray
    rate_hz: int


@FEATURES.register("waveform", AudioFeatureConfig)
class WaveformFeature(Feature):
    """The mono waveform. It is stored as a WAV file during the pass. Its value is a `Pcm`, from which other features derive."""

    name, key, fed, inputs = "waveform", "audio", (SAMPLES,), ()
    folder, suffix, named_by_stem, windowed = "wav_file", ".wav", True, True

    @classmethod
    def enabled(cls, config: FeatureConfig) -> bool:
        """Return true: both published systems use this feature, and the extractor always stores it."""
        return True

    @classmethod
    def stored_fields(cls, config: FeatureConfig) -> dict[str, Any]:
        """Return no settings, since the mel-spectrogram feature declares the shared section."""
        return {}

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Declare no arrays, since models only use features derived from the waveform."""
        return ()

    def to_arrays(self, value: Any, facts: ClipFacts) -> Mapping[str, np.ndarray | None]:
        """Return no arrays."""
        return {}

    def extractor(self, clip: ClipPass) -> Extractor:
        """Return an extractor that writes the WAV file if the pass has an output path."""
        return WaveformExtractor(self.config.audio.sample_rate_hz, clip)

    def write(self, path: Path, value: Any) -> None:
        """Do nothing: the WAV file was written during the pass."""

    def read(self, path: Path, facts: ClipFacts) -> Any:
        """Return the beginning of the WAV file."""
        return pcm_of_wav(path)


class WaveformExtractor(Extractor):
    """Extractor that writes the WAV file and collects the start of the waveform if other features derive from it."""

    def __init__(self, rate_hz: int, clip: ClipPass) -> None:
        """Create an extractor for samples at `rate_hz`."""
        self._rate_hz = rate_hz
        self._path = clip.output_paths.get(WaveformFeature.name)
        self._writer: WavWriter | None = None
        longest_s = LONGEST_WINDOWED_S if clip.windowed else LONGEST_PCM_S
        self._pcm = PcmBuffer(rate_hz, longest_s) if WaveformFeature.name in clip.sources else None

    def add_samples(self, samples: np.ndarray) -> None:
        """Append samples. The first call creates the WAV file, so a clip without audio has none."""
        if self._path is not None:
            self._writer = self._writer or WavWriter(self._path, self._rate_hz)
            self._writer.write(samples)
        if self._pcm is not None:
            self._pcm.add(samples)

    def finish(self) -> Any:
        """Return the samples; `None` without audio, or if no feature derives from them."""
        pcm = None if self._pcm is None else self._pcm.pcm()
        return pcm if pcm is not None and len(pcm.samples) else None

    def close(self) -> None:
        """Complete the WAV file."""
        if self._writer is not None:
            self._writer.close()


class PcmBuffer:
    """The beginning of a waveform, collected block by block and rounded as in a WAV file."""

    def __init__(self, rate_hz: int, longest_s: int = LONGEST_PCM_S) -> None:
        """Create an empty buffer for at most `longest_s` seconds of samples at `rate_hz`."""
        self._rate_hz = rate_hz
        self._parts: list[np.ndarray] = []
        self._room = longest_s * rate_hz

    def add(self, samples: np.ndarray) -> None:
        """Append (S,) float32 samples."""
        part = to_pcm16(samples[: self._room])
        self._room -= len(part)
        self._parts.append(part)

    def pcm(self) -> Pcm:
        """Return the samples so far."""
        return Pcm(np.concatenate([np.zeros(0, np.int16), *self._parts]), self._rate_hz)


def pcm_of_wav(path: Path) -> Pcm:
    """Read the beginning of a mono 16-bit WAV file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has another format, or contains no samples.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise ValueError(f"{path} is not mono 16-bit")
            rate_hz = file.getframerate()
            content = file.readframes(LONGEST_PCM_S * rate_hz)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is not a wav file: {error}") from None
    samples = np.frombuffer(content[: len(content) // 2 * 2], "<i2")
    if len(samples) == 0:
        raise ValueError(f"{path} contains no samples")
    return Pcm(samples, rate_hz)


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """Convert float samples to WAV samples, (S,) little-endian int16; values beyond [-1, 1] are clipped."""
    return (np.clip(samples, -1.0, 1.0) * 32767.0).round().astype("<i2")


class WavWriter:
    """Writer of mono 16-bit PCM, block by block; a context manager."""

    def __init__(self, path: Path, rate_hz: int) -> None:
        """Open `path` for writing."""
        self._file = wave.open(str(path), "wb")  # noqa: SIM115  (closed by `close`)
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(rate_hz)

    def write(self, samples: np.ndarray) -> None:
        """Append (S,) float32 samples; values beyond [-1, 1] are clipped."""
        self._file.writeframesraw(to_pcm16(samples).tobytes())

    def close(self) -> None:
        """Complete the header and close the file."""
        self._file.close()

    def __enter__(self) -> WavWriter:
        """Return the writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()
