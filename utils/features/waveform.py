"""From decoded audio blocks to the mono waveform that the mel-spectrogram is made of, without holding the file."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr

from utils.media.decode import AudioBlock, StreamFacts

SAMPLES_PER_BLOCK = 1 << 17
DURATION_STEP_S = 0.01
SILENCE_PER_BLOCK_S = 10.0
LONGEST_SILENCE_S = 4 * 3600
"""Padding stops here: a damaged frame rate can declare years, and memory would go before they are over."""


def clip_length_samples(facts: StreamFacts) -> int:
    """Length that the published pipeline gives a clip's audio, in samples at the stream's own rate.

    It took the container's duration, which FFmpeg prints in steps of 10 ms, and padded or cut the audio to it.
    """
    return int(round(facts.duration_s, 2) * facts.rate_hz)


class MonoResampler:
    """Turns `AudioBlock`s into blocks of samples at one rate, padded or cut to the clip's length at the end.

    Samples are rounded to 16 bits first, since the published pipeline went through a 16-bit wav; resampling is soxr's HQ
    recipe on the mean of the channels, the same that `librosa.load` uses.
    """

    def __init__(self, rate_hz: int, facts: StreamFacts, *, match_clip: bool) -> None:
        """Choose the rate to deliver; `facts` are the running pass's own, read when it has ended."""
        self.rate_hz = rate_hz
        self._facts = facts
        self._match_clip = match_clip
        self._stream: soxr.ResampleStream | None = None
        self._pending: list[np.ndarray] = []
        self._n_pending = 0
        self._n_passed = 0

    def feed(self, block: AudioBlock) -> Iterator[np.ndarray]:
        """Take a block in; yield (S,) float32 blocks at `rate_hz` when enough has come together."""
        if self._stream is None:
            self._stream = soxr.ResampleStream(block.rate_hz, self.rate_hz, 1, dtype="float32", quality="HQ")
        self._pending.append(block.samples)
        self._n_pending += len(block.samples)
        if self._n_pending >= SAMPLES_PER_BLOCK:
            samples = self._take_pending()
            # The clip's length may turn out to lie half a step before the last sample: hold that much back.
            held = int(DURATION_STEP_S * block.rate_hz) + 1
            self._pending, self._n_pending = [samples[-held:]], held
            yield self._resample(self._stream, samples[:-held])

    def finish(self) -> Iterator[np.ndarray]:
        """Yield what is left; call it after the last `feed`. Yields nothing for a clip without audio."""
        if self._stream is None:
            return
        samples = self._take_pending()
        missing = 0
        if self._match_clip:
            missing = clip_length_samples(self._facts) - self._n_passed - len(samples)
            missing = min(missing, LONGEST_SILENCE_S * self._facts.rate_hz)
            samples = samples[: len(samples) + min(missing, 0)]
        yield self._resample(self._stream, samples, last=missing <= 0)
        silence_block = int(SILENCE_PER_BLOCK_S * self._facts.rate_hz)
        while missing > 0:
            step = min(missing, silence_block)
            missing -= step
            yield self._resample(self._stream, np.zeros(step, np.float32), last=missing == 0)

    def _take_pending(self) -> np.ndarray:
        samples = np.concatenate(self._pending)
        self._pending, self._n_pending = [], 0
        return samples

    def _resample(self, stream: soxr.ResampleStream, samples: np.ndarray, *, last: bool = False) -> np.ndarray:
        self._n_passed += len(samples)
        # Damaged float streams decode to NaN, which would spread over the whole picture.
        samples = np.clip(np.nan_to_num(samples), -1.0, 1.0)
        rounded = np.minimum(np.round(samples * np.float32(32768)), np.float32(32767)) / np.float32(32768)
        return stream.resample_chunk(rounded.astype(np.float32, copy=False), last=last)


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """Float samples as a wav file holds them: (S,) little-endian int16; values beyond [-1, 1] are clipped."""
    return (np.clip(samples, -1.0, 1.0) * 32767.0).round().astype("<i2")


class WavWriter:
    """Writes mono 16-bit PCM block by block; a context manager."""

    def __init__(self, path: Path, rate_hz: int) -> None:
        """Open `path` for writing."""
        self._file = wave.open(str(path), "wb")  # noqa: SIM115  (closed by __exit__)
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(rate_hz)

    def write(self, samples: np.ndarray) -> None:
        """Append (S,) float32 samples; values beyond [-1, 1] are clipped."""
        self._file.writeframesraw(to_pcm16(samples).tobytes())

    def __enter__(self) -> WavWriter:
        """Return the writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Complete the header and close the file."""
        self._file.close()
