"""The sound of a clip, as it is or forged, for a set of pseudo-fakes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset.pseudo_fakes.bank import REAL
from dataset.pseudo_fakes.edits import shift, splice, swap
from dataset.pseudo_fakes.voice import VOICE_FAKES
from utils.features.config import FeatureConfig
from utils.features.extract import clip_voice
from utils.features.voice import VOICE_RATE_HZ
from utils.media.errors import MediaError
from utils.media.writer import write_clip

log = logging.getLogger(__name__)

SWAPPED, SHIFTED, SPLICED = "audio_swapped", "audio_shifted", "audio_spliced"
SOUND_TYPES = (*VOICE_FAKES, SWAPPED, SHIFTED, SPLICED)
AAC_BIT_RATE = 96_000
SHORTEST_S = 1.0


@dataclass(frozen=True)
class ForgedSound:
    """A sound to go with a clip's pictures.

    Attributes:
        waveform: (S,) float32 at 16 kHz.
        span_s: when what is forged begins and ends; `None` for a real sound.
    """

    waveform: np.ndarray
    span_s: tuple[float, float] | None = None


def usable_voice(path: Path) -> np.ndarray | None:
    """A clip's sound at 16 kHz, (S,) float32; `None`, with a line in the log, when it has less than a second."""
    try:
        voice = clip_voice(path, FeatureConfig(), trim=False)
    except MediaError as error:
        log.warning("%s is left out: %s", path, error)
        return None
    if len(voice) < SHORTEST_S * VOICE_RATE_HZ or not voice.any():
        log.warning("%s is left out: less than a second of sound", path)
        return None
    return voice


def forge_sound(kind: str, voice: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> ForgedSound:
    """A clip's sound as `kind`, one of `SOUND_TYPES` or `real`.

    Args:
        kind: what to make of it.
        voice: (S,) float32 at 16 kHz.
        other: the sound of another recording, for swaps and splices.
        rng: all chance.
    """
    whole = (0.0, len(voice) / VOICE_RATE_HZ)
    if kind == REAL:
        return ForgedSound(voice)
    if kind == SWAPPED:
        return ForgedSound(swap(voice, other), whole)
    if kind == SHIFTED:
        return ForgedSound(shift(voice, rng)[0], whole)
    if kind == SPLICED:
        return ForgedSound(*splice(voice, other, rng))
    return ForgedSound(VOICE_FAKES[kind](voice, rng), whole)


def write_sound(path: Path, waveform: np.ndarray) -> None:
    """A sound (S,) at 16 kHz as AAC, lowered where it would clip."""
    loudest = max(1.0, float(np.abs(waveform).max()))
    write_clip(path, None, waveform=waveform / loudest, sample_rate_hz=VOICE_RATE_HZ, audio_bit_rate=AAC_BIT_RATE)
