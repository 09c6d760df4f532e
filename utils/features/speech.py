"""Speech beside a moving mouth: log-mel spectra on the mouth's own time grid, for judging whether the two belong together."""

from __future__ import annotations

from functools import cache

import librosa
import numpy as np
from scipy.ndimage import uniform_filter1d

from utils.features.face.features import MOUTH_HZ
from utils.features.voice import VOICE_RATE_HZ, voice_waveform

SPEECH_VERSION = 1
"""Raise it when the same sound would give other numbers than before."""

MAX_LAG = 12
"""Mouth and voice are compared up to this many frames of 40 ms apart."""

CONTEXT = 6
"""Neighbouring speech frames, before and after, that go with a mouth frame."""

PAD = MAX_LAG + CONTEXT
"""Speech frames before the mouth's first one and after its last one."""

SPEECH_BANDS = 40
LEAST_MOUTH_FRAMES = 25
"""A shorter mouth says nothing: moved by `MAX_LAG` it would be compared with other sounds altogether."""

FFT, WINDOW, HOP = 512, 400, 160
LOW_HZ, HIGH_HZ = 60, 7600
LEVEL = 0.05
"""Root mean square that the waveform is brought to, which `FLOOR` goes with."""

FLOOR = 1e-5
SMOOTHING_HOPS = 4
MARGIN_S = 0.1


def speech_of_pcm(samples: np.ndarray, rate_hz: int, start_s: float, mouth_frames: int) -> np.ndarray | None:
    """Describe the speech around a mouth.

    The recording is levelled, every band has its mean over the span taken off, and all are divided by their common standard
    deviation: neither loudness nor channel counts. Outside the recording, where nothing is known, every band is at its mean: 0.

    Args:
        samples: (S,) int16 mono. It has to be what a 16-bit wav file holds, so that a clip scores alike from the file and
            straight from the decoder.
        rate_hz: its sample rate.
        start_s: time of the first mouth frame in the recording.
        mouth_frames: T.

    Returns:
        (T + 2 `PAD`, `SPEECH_BANDS`) float32 at `MOUTH_HZ`, `PAD` frames before the mouth's first one on; `None` where there is
        no sound in that span.
    """
    times_s = start_s + (np.arange(mouth_frames + 2 * PAD) - PAD) / MOUTH_HZ
    first, last = (int(np.floor((times_s[end] + side * MARGIN_S) * rate_hz)) for end, side in ((0, -1), (-1, 1)))
    first = max(0, first)
    waveform = voice_waveform(samples[first : max(first, last)], rate_hz, trim=False)
    if len(waveform) < WINDOW or not waveform.any():
        return None
    spectra = log_mel(waveform)
    hops_s = first / rate_hz + np.arange(len(spectra)) * HOP / VOICE_RATE_HZ
    return np.stack([np.interp(times_s, hops_s, band, left=0.0, right=0.0) for band in spectra.T], axis=1).astype(
        np.float32
    )


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """Levelled and smoothed log-mel spectra (N, `SPEECH_BANDS`) of a 16 kHz waveform (S,) with sound, one every 10 ms."""
    levelled = waveform * (LEVEL / np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))).astype(np.float32)
    power = np.abs(librosa.stft(levelled, n_fft=FFT, win_length=WINDOW, hop_length=HOP)) ** 2
    spectra = np.log(mel_bank() @ power + FLOOR)
    spectra -= spectra.mean(axis=1, keepdims=True)
    spectra /= spectra.std() + 1e-6
    return uniform_filter1d(spectra, SMOOTHING_HOPS, axis=1, mode="constant").T


@cache
def mel_bank() -> np.ndarray:
    """The filterbank (`SPEECH_BANDS`, FFT / 2 + 1)."""
    return librosa.filters.mel(sr=VOICE_RATE_HZ, n_fft=FFT, n_mels=SPEECH_BANDS, fmin=LOW_HZ, fmax=HIGH_HZ)
