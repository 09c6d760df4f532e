"""Downmixing to mono, with a fallback for channels that cancel each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from utils.media.frames import ChannelSamples

CANCELLED_POWER = 0.1
"""Channels cancel where the power of their sum is below this share of the loudest channel's power.

Two uncorrelated channels of equal level give 2, two equal ones 4, and one channel alone gives 1. A value under 0.1 needs a
correlation below -0.95; the sum then consists largely of coding noise.
"""

CENTRE_POWER = 0.01
"""A centre channel above this share of the loudest channel's power is preferred to it: films carry speech there."""

LOOK_AHEAD_S = 60.0
"""Length of audio on which the decision is based."""

LOOK_AHEAD_VALUES = 1 << 23
"""Limit on the look-ahead in samples times channels, which bounds memory."""


@dataclass
class AudioBlock:
    """A block of decoded audio.

    Attributes:
        samples: (S,) float32 in about [-1, 1]: the mean of the channels, or one channel where they cancel.
        rate_hz: sample rate of the block.
    """

    samples: np.ndarray
    rate_hz: int


class MonoMixer:
    """Downmixes decoded audio to mono, frame by frame.

    Mono is the mean of the channels. Where the channels cancel (right = -left), the mean is coding noise and one channel is
    used instead. The decision is made once for a clip, on the first `LOOK_AHEAD_S` after any digital silence; until then
    frames with several channels are held back. It is independent of frame sizes. A change of the sample rate or the channel
    layout begins a new run with a new decision.
    """

    def __init__(self) -> None:
        """Start without frames."""
        self.cancelled: str | None = None
        """Name of the channel used because the channels cancel; `None` where the mean is used."""
        self._run: tuple[int, tuple[str, ...]] | None = None
        self._held: list[ChannelSamples] = []
        self._n_held = self._n_needed = 0
        self._decided = False
        self._channel: int | None = None

    def add(self, frame: ChannelSamples) -> Iterator[AudioBlock]:
        """Take a frame; yield the blocks that are ready, one per frame."""
        run = (frame.rate_hz, frame.names)
        if run != self._run:
            yield from self.finish()
            self._run, self._decided, self._channel = run, len(frame.channels) == 1, None
        # Digital silence is the same in every downmix and carries no information for the decision.
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
        """Yield the blocks that are still held back. Call it after the last frame."""
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
    """Return the number of the channel to use in place of the mean, or `None` where the channels do not cancel.

    Args:
        channels: one (S,) array per channel, in any sample type.
        names: libav's channel names; `FC` is the centre.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        total = channels[0].astype(np.float32)
        for channel in channels[1:]:
            total += channel
        powers = np.array([ac_power(channel) for channel in channels])
        # Comparisons with NaN are false, so damaged floats leave the mean in place.
        if not ac_power(total) < CANCELLED_POWER * powers.max():
            return None
    if "FC" in names:
        centre = list(names).index("FC")
        if powers[centre] >= CENTRE_POWER * powers.max():
            return centre
    return int(powers.argmax())
