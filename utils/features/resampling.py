"""Resampling of decoded audio blocks to the mono waveform of the features, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soxr

from utils.media.decode import StreamFacts
from utils.media.mono import AudioBlock

SAMPLES_PER_BLOCK = 1 << 17
DURATION_STEP_S = 0.01
SILENCE_PER_BLOCK_S = 10.0
LONGEST_SILENCE_S = 4 * 3600
"""Limit on padding. With a damaged frame rate, the declared duration could be years and exhaust memory."""


def clip_length_samples(facts: StreamFacts) -> int:
    """Return the length to which the published pipeline pads or cuts the audio of a clip, in samples of the stream.

    The pipeline uses the duration of the container, which FFmpeg prints in steps of 10 ms.
    """
    return int(round(facts.duration_s, 2) * facts.rate_hz)


class MonoResampler:
    """Converter of `AudioBlock`s to one sample rate. At the end it pads or cuts the waveform to the clip's length.

    Samples are first rounded to 16 bits, since the published pipeline used a 16-bit WAV file. Resampling uses soxr's HQ
    recipe, as in `librosa.load`. If the sample rate of the blocks changes, the earlier audio is completed and a new
    resampler is started. The total duration is preserved.
    """

    def __init__(self, rate_hz: int, facts: StreamFacts, *, match_clip: bool) -> None:
        """Create a resampler for one pass.

        Args:
            rate_hz: sample rate of the output.
            facts: facts of the running pass; `finish` reads them.
            match_clip: whether to pad or cut the waveform to the clip's length.
        """
        self.rate_hz = rate_hz
        self._facts = facts
        self._match_clip = match_clip
        self._stream: soxr.ResampleStream | None = None
        self._source_hz = 0
        self._pending: list[np.ndarray] = []
        self._n_pending = 0
        self._n_passed = 0
        self._earlier_s = 0.0
        self._n_delivered = 0

    def feed(self, block: AudioBlock) -> Iterator[np.ndarray]:
        """Add a block and yield (S,) float32 blocks at `rate_hz` once enough samples are pending."""
        if block.rate_hz != self._source_hz:
            yield from self._change_rate(block.rate_hz)
        assert self._stream is not None
        self._pending.append(block.samples)
        self._n_pending += len(block.samples)
        if self._n_pending >= SAMPLES_PER_BLOCK:
            samples = self._take_pending()
            # The clip may end up to one step before the last sample, so keep that many samples pending.
            held = int(DURATION_STEP_S * block.rate_hz) + 1
            self._pending, self._n_pending = [samples[-held:]], held
            yield self._resample(self._stream, samples[:-held])

    def finish(self) -> Iterator[np.ndarray]:
        """Yield the remaining blocks; none for a clip without audio. Call this after the last `feed`."""
        if self._stream is None:
            return
        samples = self._take_pending()
        missing = 0
        if self._match_clip:
            earlier = round(self._earlier_s * self._source_hz)
            missing = clip_length_samples(self._facts) - earlier - self._n_passed - len(samples)
            missing = min(missing, LONGEST_SILENCE_S * self._source_hz)
            samples = samples[: max(0, len(samples) + min(missing, 0))]
        yield self._resample(self._stream, samples, last=missing <= 0)
        silence_block = int(SILENCE_PER_BLOCK_S * self._source_hz)
        while missing > 0:
            step = min(missing, silence_block)
            missing -= step
            yield self._resample(self._stream, np.zeros(step, np.float32), last=missing == 0)

    def _change_rate(self, source_hz: int) -> Iterator[np.ndarray]:
        """Complete the audio at the previous rate to its exact duration and start a resampler for the new rate."""
        if self._stream is not None:
            last = self._resample(self._stream, self._take_pending(), last=True)
            self._earlier_s += self._n_passed / self._source_hz
            surplus = self._n_delivered - round(self._earlier_s * self.rate_hz)
            last = last[: max(0, len(last) - surplus)] if surplus > 0 else np.pad(last, (0, -surplus), "edge")
            self._n_delivered = round(self._earlier_s * self.rate_hz)
            yield last
        self._stream = soxr.ResampleStream(source_hz, self.rate_hz, 1, dtype="float32", quality="HQ")
        self._source_hz, self._n_passed = source_hz, 0

    def _take_pending(self) -> np.ndarray:
        samples = np.concatenate([np.empty(0, np.float32), *self._pending])
        self._pending, self._n_pending = [], 0
        return samples

    def _resample(self, stream: soxr.ResampleStream, samples: np.ndarray, *, last: bool = False) -> np.ndarray:
        self._n_passed += len(samples)
        # Damaged float streams decode to NaN, which would propagate through the whole spectrogram.
        samples = np.clip(np.nan_to_num(samples), -1.0, 1.0)
        rounded = np.minimum(np.round(samples * np.float32(32768)), np.float32(32767)) / np.float32(32768)
        resampled = stream.resample_chunk(rounded.astype(np.float32, copy=False), last=last)
        self._n_delivered += len(resampled)
        return resampled


def whole_waveform(blocks: list[AudioBlock]) -> tuple[np.ndarray, int]:
    """Join blocks to one waveform at their highest sample rate. Return (S,) float32 and the rate; (0,) and 0 if empty."""
    if not blocks:
        return np.empty(0, np.float32), 0
    rate_hz = max(block.rate_hz for block in blocks)
    if all(block.rate_hz == rate_hz for block in blocks):
        return np.concatenate([block.samples for block in blocks]), rate_hz
    resampler = MonoResampler(rate_hz, StreamFacts(), match_clip=False)
    parts = [part for block in blocks for part in resampler.feed(block)]
    return np.concatenate([*parts, *resampler.finish()]), rate_hz
