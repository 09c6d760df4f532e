"""Speech features for audio-visual synchronisation: log-mel spectra on the time grid of the mouth frames."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from utils.features.base import FEATURES, ArraySpec, Feature
from utils.features.clip import ClipFacts
from utils.features.face.features import MAX_MOUTH_FRAMES, MOUTH_HZ, FaceFeatures
from utils.features.spectra import mel_filterbank, moving_mean, stft
from utils.features.voice import HOP, N_FFT, VOICE_RATE_HZ, voice_waveform
from utils.features.waveform import Pcm

SPEECH_VERSION = 1
"""Increase this if the same waveform gives different values than before."""

MAX_LAG = 12
"""Mouth and speech are compared at lags of up to this many frames of 40 ms."""

CONTEXT = 6
"""Number of speech frames before and after a mouth frame that are compared with it."""

PAD = MAX_LAG + CONTEXT
"""Speech frames before the first mouth frame and after the last one."""

SPEECH_BANDS = 40
LEAST_MOUTH_FRAMES = 25
"""Minimum length of a mouth series. A shorter one, shifted by `MAX_LAG`, would mostly overlap with other speech."""

FFT_WINDOW = VOICE_RATE_HZ // 40
"""Window of 25 ms. FFT size and hop are those of the voice features."""

LOW_HZ, HIGH_HZ = 60, 7600
TARGET_RMS = 0.05
"""Root mean square to which the waveform is scaled. `FLOOR` is chosen for this level."""

FLOOR = 1e-5
SMOOTHING_HOPS = 4
MARGIN_S = 0.1


@FEATURES.register("speech", bool)
class SpeechFeature(Feature):
    """Log-mel spectra around the mouth frames, derived from the waveform and the face. Its value is (T + 2 `PAD`, 40) float32.

    It is absent if there is no audio during the mouth series, or if that series is shorter than `LEAST_MOUTH_FRAMES`.
    """

    name, key, fed, inputs = "speech", "face", ("waveform", "face"), ("speech",)

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Declare one array: (`MAX_MOUTH_FRAMES` + 2 `PAD`, 40) float32 with a mask over frames."""
        return (ArraySpec("speech", (MAX_MOUTH_FRAMES + 2 * PAD, SPEECH_BANDS), np.float32, padded=True),)

    def to_arrays(self, value: Any, facts: ClipFacts) -> Mapping[str, np.ndarray | None]:
        """Return the spectra."""
        return {"speech": value}

    def derive(self, sources: Mapping[str, Any], cache_dir: Path | None) -> Any:
        """Compute the spectra for the mouth series."""
        pcm: Pcm = sources["waveform"]
        face: FaceFeatures = sources["face"]
        if len(face.mouth) < LEAST_MOUTH_FRAMES:
            return None
        return speech_of_pcm(pcm.samples, pcm.rate_hz, face.start_s, len(face.mouth))


def speech_of_pcm(samples: np.ndarray, rate_hz: int, start_s: float, mouth_frames: int) -> np.ndarray | None:
    """Compute log-mel spectra for a mouth series.

    The waveform is scaled to a fixed level, the mean over time is subtracted from every band, and all bands are divided by
    their common standard deviation. This removes loudness and channel effects. Outside the waveform all bands are 0.

    Args:
        samples: (S,) int16 mono, as stored in a 16-bit WAV file. Stored and decoded waveforms therefore give equal scores.
        rate_hz: sample rate.
        start_s: time of the first mouth frame in the waveform.
        mouth_frames: T.

    Returns:
        (T + 2 `PAD`, `SPEECH_BANDS`) float32 at `MOUTH_HZ`, starting `PAD` frames before the first mouth frame; `None` if
        the audio is silent.
    """
    times_s = start_s + (np.arange(mouth_frames + 2 * PAD) - PAD) / MOUTH_HZ
    first, last = (int(np.floor((times_s[end] + side * MARGIN_S) * rate_hz)) for end, side in ((0, -1), (-1, 1)))
    first = max(0, first)
    waveform = voice_waveform(samples[first : max(first, last)], rate_hz, trim=False)
    if len(waveform) < FFT_WINDOW or not waveform.any():
        return None
    spectra = log_mel(waveform)
    hops_s = first / rate_hz + np.arange(len(spectra)) * HOP / VOICE_RATE_HZ
    return np.stack([np.interp(times_s, hops_s, band, left=0.0, right=0.0) for band in spectra.T], axis=1).astype(
        np.float32
    )


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """Return standardised, smoothed log-mel spectra (N, `SPEECH_BANDS`) of a 16 kHz waveform (S,), one every 10 ms."""
    scaled = waveform * (TARGET_RMS / np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))).astype(np.float32)
    power = np.abs(stft(scaled, n_fft=N_FFT, hop=HOP, window=FFT_WINDOW)) ** 2
    spectra = np.log(mel_bank() @ power + FLOOR)
    spectra -= spectra.mean(axis=1, keepdims=True)
    spectra /= spectra.std() + 1e-6
    return moving_mean(spectra, SMOOTHING_HOPS, pad_mode="constant").T


@cache
def mel_bank() -> np.ndarray:
    """Return the filterbank (`SPEECH_BANDS`, N_FFT / 2 + 1)."""
    return mel_filterbank(VOICE_RATE_HZ, N_FFT, SPEECH_BANDS, low_hz=LOW_HZ, high_hz=HIGH_HZ)
