"""Random post-processing of real and forged voices, so that they differ only in the forgery."""

from __future__ import annotations

import io
from typing import cast

import av
import numpy as np
import soxr
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from scipy.signal import butter, fftconvolve, sosfilt

from utils.features.voice import VOICE_RATE_HZ

CODECS = {"aac": ("adts", (24, 128)), "mp3": ("mp3", (24, 128)), "libopus": ("ogg", (16, 96))}


def recode(waveform: np.ndarray, codec: str, kbit_s: float, rate_hz: int) -> np.ndarray:
    """Encode and decode `waveform` (S,) with `codec` at `kbit_s` and `rate_hz`; return (S,) at 16 kHz."""
    container_format, _ = CODECS[codec]
    encoded = soxr.resample(waveform, VOICE_RATE_HZ, rate_hz).astype(np.float32)
    store = io.BytesIO()
    with cast(OutputContainer, av.open(store, "w", format=container_format)) as target:
        stream = cast(AudioStream, target.add_stream(codec if codec != "mp3" else "libmp3lame", rate=rate_hz))
        stream.layout = "mono"
        stream.bit_rate = int(kbit_s * 1000)
        fifo = av.AudioResampler(
            format=stream.format.name, layout="mono", rate=rate_hz, frame_size=stream.frame_size or 1024
        )
        frame = av.AudioFrame.from_ndarray(np.clip(encoded, -1, 1)[None], format="flt", layout="mono")
        frame.sample_rate = rate_hz
        for part in [*fifo.resample(frame), *fifo.resample(None)]:
            part.pts = None
            target.mux(stream.encode(part))
        target.mux(stream.encode(None))
    store.seek(0)
    with cast(InputContainer, av.open(store)) as source:
        fltp = av.AudioResampler(format="fltp", layout="mono", rate=source.streams.audio[0].rate)
        parts = []
        for frame in source.decode(audio=0):
            frame.pts = None
            parts += [f.to_ndarray()[0] for f in fltp.resample(frame)]
        rate_hz = source.streams.audio[0].rate
    decoded = soxr.resample(np.concatenate(parts), rate_hz, VOICE_RATE_HZ).astype(np.float32)
    return np.pad(decoded, (0, max(0, len(waveform) - len(decoded))))[: len(waveform)]


def reverberate(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a small synthetic room: exponentially decaying noise of 0.05-0.4 s, 3-20 dB below the direct sound."""
    length = int(rng.uniform(0.05, 0.4) * VOICE_RATE_HZ)
    tail = rng.normal(size=length) * np.exp(-6.9 * np.arange(length) / length)
    tail *= 10 ** (-rng.uniform(3, 20) / 20) / np.sqrt((tail**2).sum())
    tail[0] += 1
    return fftconvolve(waveform, tail)[: len(waveform)]


def add_noise(waveform: np.ndarray, rng: np.random.Generator, levels_db: tuple[float, float] = (15, 50)) -> np.ndarray:
    """Add coloured noise at a random level in `levels_db` below the voice."""
    colour = np.fft.rfft(rng.normal(size=len(waveform)))
    colour /= np.maximum(np.arange(len(colour)) / len(colour), 1e-3) ** rng.uniform(0, 1.0)
    noise = np.fft.irfft(colour, len(waveform))
    level = np.sqrt((waveform**2).mean() / (noise**2).mean()) * 10 ** (-rng.uniform(*levels_db) / 20)
    return waveform + level * noise


def tilt(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Filter by a random smooth response of a few decibels, like that of a microphone or a mixing desk."""
    spectrum = np.fft.rfft(waveform)
    knots = rng.normal(0, 4, 7)
    gain_db = np.interp(np.linspace(0, 6, len(spectrum)), np.arange(7), knots)
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(waveform))


def post_process(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply a random selection of room, noise, frequency response, band limit and up to two lossy encodings, at 16 kHz."""
    out = waveform.astype(np.float64)
    if rng.random() < 0.3:
        out = reverberate(out, rng)
    if rng.random() < 0.5:
        out = add_noise(out, rng)
    if rng.random() < 0.5:
        out = tilt(out, rng)
    if rng.random() < 0.3:
        out = sosfilt(butter(6, rng.uniform(3400, 7600), fs=VOICE_RATE_HZ, output="sos"), out)
    out = (0.1 * out / np.sqrt((out**2).mean() + 1e-10)).astype(np.float32)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.15, 0.6, 0.25]))):
        codec = str(rng.choice(list(CODECS)))
        low, high = CODECS[codec][1]
        rate_hz = 48_000 if codec == "libopus" else int(rng.choice([16_000, 22_050, 24_000, 32_000, 44_100, 48_000]))
        out = recode(np.clip(out, -1, 1), codec, np.exp(rng.uniform(np.log(low), np.log(high))), rate_hz)
    return out
