"""Utterances: a few short excerpts of a clip's speech, as waveforms and voice features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from utils.features.base import FEATURES, ArraySpec, Feature
from utils.features.clip import ClipFacts
from utils.features.voice import (
    VOICE_RATE_HZ,
    VOICE_SIZE,
    WINDOW_S,
    long_enough,
    speech_level_db,
    trim_and_scale,
    voice_features,
    voice_waveform,
)
from utils.features.waveform import Pcm

UTTERANCE_VERSION = 2
"""Increase this if the same waveform gives different utterances than before."""

UTTERANCE_S = 3
UTTERANCE_SAMPLES = UTTERANCE_S * VOICE_RATE_HZ
MAX_UTTERANCES = 2
"""Maximum number of utterances per clip. On real clips, more utterances cost time and did not change an AUC (`docs/LOG.md`)."""

SPACING_S = 5
"""A clip with at least `UTTERANCE_S` + `SPACING_S` seconds of speech has two utterances."""


LEAST_SPEECH_DB = -60.0
"""Quieter speech, in dB relative to full scale, gives no utterances: it is close to the steps of 16 bits and to what codecs
discard. The quietest of 1,094 real and fake clips has -53.5 dB; copies of genuine speech were called fake from -68 dB on."""

TOO_QUIET, TOO_SHORT = "too_quiet", "too_short"


@dataclass(frozen=True)
class Utterances:
    """Excerpts of one clip's speech.

    Attributes:
        waveforms: (W, S) float32 at 16 kHz, S = 48,000; a shorter clip is padded with zeros at the end.
        voice: (W, D) float32, voice features of each, see `voice_features`.
        too_quiet: whether there are none because the speech is quieter than `LEAST_SPEECH_DB`.
    """

    waveforms: np.ndarray
    voice: np.ndarray
    too_quiet: bool = False


@FEATURES.register("utterance", bool)
class UtteranceFeature(Feature):
    """The utterances, derived from the waveform; the value is of type `Utterances`."""

    name, key, fed, inputs = "utterance", "utterance", ("waveform",), ("utterance", "utterance_voice")

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Return two declarations, (2, 48,000) and (2, D) float32, each with a mask over utterances."""
        return (
            ArraySpec("utterance", (MAX_UTTERANCES, UTTERANCE_SAMPLES), np.float32, padded=True),
            ArraySpec("utterance_voice", (MAX_UTTERANCES, VOICE_SIZE), np.float32, padded=True),
        )

    def to_arrays(self, value: Any, facts: ClipFacts) -> Mapping[str, np.ndarray | None]:
        """Return waveforms and voice features. Utterances of a silent track count as absent."""
        if value is None or "silent" in facts.reasons:
            return dict.fromkeys(self.inputs)
        return {"utterance": value.waveforms, "utterance_voice": value.voice}

    def reasons(self, value: Any, facts: ClipFacts) -> frozenset[str]:
        """Return why a waveform that is not silent has no utterances: `too_quiet` or `too_short`."""
        if value is None or len(value.waveforms) or facts.reasons & {"no_audio", "silent"}:
            return frozenset()
        return frozenset({TOO_QUIET if value.too_quiet else TOO_SHORT})

    def derive(self, sources: Mapping[str, Any], cache_dir: Path | None) -> Any:
        """Cut the utterances from the waveform."""
        pcm: Pcm = sources["waveform"]
        waveform = voice_waveform(pcm.samples, pcm.rate_hz)
        if long_enough(waveform) and speech_level_db(waveform - waveform.mean()) < LEAST_SPEECH_DB:
            return replace(no_utterances(), too_quiet=True)
        return utterances(waveform)


def utterances(waveform: np.ndarray, count: int = MAX_UTTERANCES) -> Utterances:
    """Cut a waveform into evenly spaced utterances.

    Args:
        waveform: (S,) float32 at 16 kHz, see `voice_waveform`. Its mean is removed, since an offset of the recording
            equipment or of a synthesiser carries no information about the speech.
        count: maximum number of utterances.

    Returns:
        At most `count` utterances, each from the middle of an equal part of the speech; none if the waveform is too short.
    """
    if not long_enough(waveform):
        return no_utterances()
    speech = trim_and_scale(waveform - waveform.mean())
    excerpts = [speech[start : start + UTTERANCE_SAMPLES] for start in utterance_starts(len(speech), count)]
    return Utterances(
        np.stack([padded(excerpt) for excerpt in excerpts]), np.stack([described(one) for one in excerpts])
    )


def no_utterances() -> Utterances:
    """Return the utterances of a waveform without any."""
    return Utterances(np.zeros((0, UTTERANCE_SAMPLES), np.float32), np.zeros((0, VOICE_SIZE), np.float32))


def utterance_starts(length: int, count: int = MAX_UTTERANCES) -> np.ndarray:
    """Return the first sample of each utterance of `length` samples of speech, at most `count`."""
    spare = max(0, length - UTTERANCE_SAMPLES)
    number = min(count, 1 + int(spare / (SPACING_S * VOICE_RATE_HZ)))
    return (spare * (np.arange(number) + 0.5) / number).astype(int)


def padded(excerpt: np.ndarray) -> np.ndarray:
    """Return an excerpt (S,) float32, padded with zeros to `UTTERANCE_SAMPLES`."""
    return np.pad(excerpt, (0, UTTERANCE_SAMPLES - len(excerpt))).astype(np.float32)


def described(excerpt: np.ndarray) -> np.ndarray:
    """Return the mean voice features (D,) float32 of an excerpt's first and last `WINDOW_S`."""
    width = int(WINDOW_S * VOICE_RATE_HZ)
    if len(excerpt) <= width:
        return voice_features(excerpt)
    first, last = voice_features(excerpt[:width]), voice_features(excerpt[-width:])
    return (first + last) / 2
