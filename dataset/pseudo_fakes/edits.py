"""Forge what a voice belongs to or says, not the voice itself: the sound of another recording, moved or cut in.

Every function takes 16 kHz waveforms (S,) and returns one of the first one's length. All chance comes from the generator.
"""

from __future__ import annotations

import numpy as np

from dataset.pseudo_fakes.voice import match_level
from utils.features.voice import VOICE_RATE_HZ

SHIFT_S = (0.08, 0.5)
"""Below the first nobody notices; beyond the second anybody does."""

SPLICE_SHARE = (0.15, 0.5)
FADE_S = 0.01


def swap(waveform: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The sound of another recording, repeated or cut to length, at this one's level."""
    return match_level(np.resize(other, len(waveform)), waveform)


def shift(waveform: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """The same sound 80-500 ms early or late (what leaves at one end comes in at the other), and by how much in seconds."""
    seconds = float(rng.uniform(*SHIFT_S) * rng.choice([-1, 1]))
    return np.roll(waveform, round(seconds * VOICE_RATE_HZ)), seconds


def splice(waveform: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, float]]:
    """A piece of another recording inside this one, faded over 10 ms at both ends, and its span in seconds."""
    length = int(len(waveform) * rng.uniform(*SPLICE_SHARE))
    start = int(rng.integers(0, max(1, len(waveform) - length)))
    fade = min(int(FADE_S * VOICE_RATE_HZ), length // 2)
    share = np.ones(length)
    share[:fade] = np.linspace(0, 1, fade, endpoint=False)
    share[length - fade :] = share[:fade][::-1]
    spliced = waveform.astype(np.float32).copy()
    span = slice(start, start + length)
    offset = int(rng.integers(0, max(1, len(other) - length)))
    piece = match_level(np.resize(other[offset:], length), waveform[span])
    spliced[span] = (1 - share) * waveform[span] + share * piece
    return spliced, (start / VOICE_RATE_HZ, (start + length) / VOICE_RATE_HZ)
