"""Downmix to mono, with a fallback for channels that cancel each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from utils.media.frames import ChannelSamples

CANCELLED_POWER = 0.1
"""Channels cancel if the power of their sum is below this fraction of the loudest channel's power.

The ratio is 4 for two equal channels, 2 for two uncorrelated channels of equal level, and 1 for a single channel. A ratio
below 0.1 requires a correlation below -0.95; the sum is then mostly coding noise.
"""

CENTRE_POWER = 0.01
"""Above this fraction of the loudest channel's power, the centre channel is used. In films it carries the speech."""

LOOK_AHEAD_S = 60.0
"""Length of the audio used for the decision."""

LOOK_AHEAD_VALUES = 1 << 23
"""Limit on the look-ahead in samples times channels, which bounds memory."""


@dataclass
class AudioBlock:
    """A block of decoded audio.

    Attributes:
        samples: (S,) float32 in about [-1, 1]: the mean of the channels, or one channel if they cancel.
        rate_hz: sample rate of the block.
    """

    samples: np.ndarray
    rate_hz: int


class MonoMixer:
    """Downmix of decoded audio to mono, frame by frame.

    Mono is the mean of the channels. If the channels cancel (right = -left), the mean is coding noise, and one channel is
    used instead. The decision is made once per clip, from the first `LOOK_AHEAD_S` after initial digital silence. Until
    then, frames with several channels are buffered. The decision does not depend on the frame size. If the sample rate or
    the channel layout changes, a new decision is made.
    """

    def __init__(self) -> None:
        """Create a mixer without buffered frames."""
        self.cancelled: str | None = None
        """Name of the channel that is used because the channels cancel; `None` if the mean is used."""
        self._run: tuple[int, tuple[str, ...]] | None = None
        self._held: list[ChannelSamples] = []
        self._n_held = self._n_needed = 0
        self._decided = False
        self._channel: int | None = None

    def add(self, frame: ChannelSamples) -> Iterator[AudioBlock]:
        """Add a frame and yield the blocks that are ready, one per frame."""
        run = (frame.rate_hz, frame.names)
        if run != self._run:
            yield from self.finish()
            self._run, self._decided, self._channel = run, len(frame.channels) == 1, None
        # Digital silence is the same in every downmix and does not affect the decision.
        if self._decided or (not self._held and not any(channel.any() for channel in frame.channels)):
            yield self._mixed(frame)
            return
        if not self._held:
            first = min(int((channel != 0).argmax()) for channel in frame.channels if channel.any())
            limit = min(round(LOOK_AHEAD_S * frame.rate_hz), LOOK_AHEAD_VALUES // len(frame.channels))
            self._n_held, self._n_needed = 0, first + limit
        self._held.append(frame)
        self._n_held += len(frame)
        if self._n_held >= self._n_needed:
            yield from self._decide()

    def finish(self) -> Iterator[AudioBlock]:
        """Yield the blocks that are still buffered. Call this after the last frame."""
        if self._held:
            yield from self._decide()

    def _decide(self) -> Iterator[AudioBlock]:
        names = self._held[0].names
        self._channel = channel_of_cancelling(
            [
                np.concatenate([frame.channels[number] for frame in self._held])[: self._n_needed]
                for number in range(len(names))
            ],
            names,
        )
        self._decided = True
        if self._channel is not None:
            self.cancelled = names[self._channel]
        held, self._held = self._held, []
        for frame in held:
            yield self._mixed(frame)

    def _mixed(self, frame: ChannelSamples) -> AudioBlock:
        samples = frame.mean() if self._channel is None else frame.channel(self._channel)
        return AudioBlock(samples, frame.rate_hz)


def ac_power(samples: np.ndarray) -> float:
    """Return the power of (S,) samples without their mean, in their own units."""
    centred = samples.astype(np.float32)
    centred -= centred.mean()
    # A dot product is several times faster than a variance in float64.
    return float(np.dot(centred, centred)) / max(len(centred), 1)


def channel_of_cancelling(channels: Sequence[np.ndarray], names: Sequence[str]) -> int | None:
    """Return the index of the channel to use instead of the mean, or `None` if the channels do not cancel.

    Args:
        channels: one (S,) array per channel, in any sample type.
        names: libav's channel names; `FC` is the centre.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        total = channels[0].astype(np.float32)
        for channel in channels[1:]:
            total += channel
        powers = np.array([ac_power(channel) for channel in channels])
        # Comparisons with NaN are false, so the mean is used for damaged floats.
        if not ac_power(total) < CANCELLED_POWER * powers.max():
            return None
    if "FC" in names:
        centre = list(names).index("FC")
        if powers[centre] >= CENTRE_POWER * powers.max():
            return centre
    return int(powers.argmax())
