"""Audio tracks for a set of pseudo-fakes: a forged voice, or genuine speech that was swapped, shifted or spliced.

All functions take 16 kHz waveforms (S,) and return one of the same length. All random choices are drawn from the generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset.pseudo_fakes.common import REAL
from dataset.pseudo_fakes.voice.families import VOICE_FAKES, match_level
from utils.features.voice import VOICE_RATE_HZ
from utils.media.writer import write_clip

SHIFT_S = (0.08, 0.5)
"""Range of shifts. Shorter ones are not noticeable, longer ones are obvious."""

SPLICE_SHARE = (0.15, 0.5)
FADE_S = 0.01

SWAPPED, SHIFTED, SPLICED = "audio_swapped", "audio_shifted", "audio_spliced"
AUDIO_TYPES = (*VOICE_FAKES, SWAPPED, SHIFTED, SPLICED)
AAC_BIT_RATE = 96_000
SHORTEST_S = 1.0


@dataclass(frozen=True)
class ForgedAudio:
    """An audio track for a clip.

    Attributes:
        waveform: (S,) float32 at 16 kHz.
        span_s: start and end of the forged part in seconds; `None` for genuine audio.
    """

    waveform: np.ndarray
    span_s: tuple[float, float] | None = None


def is_usable(waveform: np.ndarray) -> bool:
    """Return whether audio (S,) at 16 kHz is at least a second long and not silent."""
    return len(waveform) >= SHORTEST_S * VOICE_RATE_HZ and bool(waveform.any())


def forge_audio(kind: str, waveform: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> ForgedAudio:
    """Forge a clip's audio.

    Args:
        kind: one of `AUDIO_TYPES`, or `real` to leave it unchanged.
        waveform: (S,) float32 at 16 kHz.
        other: audio of another clip, for swaps and splices.
        rng: source of all random choices.
    """
    whole = (0.0, len(waveform) / VOICE_RATE_HZ)
    if kind == REAL:
        return ForgedAudio(waveform)
    if kind == SWAPPED:
        return ForgedAudio(swap(waveform, other), whole)
    if kind == SHIFTED:
        return ForgedAudio(shift(waveform, rng)[0], whole)
    if kind == SPLICED:
        return ForgedAudio(*splice(waveform, other, rng))
    return ForgedAudio(VOICE_FAKES[kind](waveform, rng), whole)


def swap(waveform: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the audio of another clip, repeated or cut to the length of `waveform` and scaled to its level."""
    return match_level(np.resize(other, len(waveform)), waveform)


def shift(waveform: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Rotate the audio by 80-500 ms in either direction; return it and the shift in seconds."""
    seconds = float(rng.uniform(*SHIFT_S) * rng.choice([-1, 1]))
    return np.roll(waveform, round(seconds * VOICE_RATE_HZ)), seconds


def splice(waveform: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, float]]:
    """Insert a part of another clip's audio with 10-ms fades; return the audio and the part's span in seconds."""
    length = int(len(waveform) * rng.uniform(*SPLICE_SHARE))
    start = int(rng.integers(0, max(1, len(waveform) - length)))
    fade = min(int(FADE_S * VOICE_RATE_HZ), length // 2)
    share = np.ones(length)
    share[:fade] = np.linspace(0, 1, fade, endpoint=False)
    share[length - fade :] = share[:fade][::-1]
    spliced = waveform.astype(np.float32).copy()
    span = slice(start, start + length)
    offset = int(rng.integers(0, max(1, len(other) - length)))
    part = match_level(np.resize(other[offset:], length), waveform[span])
    spliced[span] = (1 - share) * waveform[span] + share * part
    return spliced, (start / VOICE_RATE_HZ, (start + length) / VOICE_RATE_HZ)


def write_audio(path: Path, waveform: np.ndarray) -> None:
    """Write audio (S,) at 16 kHz as AAC, attenuated if it would clip."""
    loudest = max(1.0, float(np.abs(waveform).max()))
    write_clip(path, None, waveform=waveform / loudest, sample_rate_hz=VOICE_RATE_HZ, audio_bit_rate=AAC_BIT_RATE)
