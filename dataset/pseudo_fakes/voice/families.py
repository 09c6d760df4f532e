"""Families of forged voices, each with the artefacts of one kind of speech synthesis.

Each function takes a 16 kHz waveform (S,) and returns one of the same length. All random choices are drawn from the generator.
`strength` scales the loss of natural detail.
"""

from __future__ import annotations

from collections.abc import Callable

import librosa
import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.ndimage import gaussian_filter1d

from dataset.pseudo_fakes.voice.signal import (
    EPS,
    HOP,
    blur,
    expand_mel,
    filter_frames,
    istft,
    lpc_frames,
    lpc_from_power,
    mel_envelope,
    pitch_track,
    stft,
)
from utils.features.voice import VOICE_RATE_HZ


def match_level(forged: np.ndarray, waveform: np.ndarray) -> np.ndarray:
    """Scale `forged` to the energy of `waveform`, and cut or pad it to the same length."""
    forged = np.nan_to_num(np.pad(forged, (0, max(0, len(waveform) - len(forged))))[: len(waveform)])
    return (forged * np.sqrt((waveform**2).mean() + 1e-10) / np.sqrt((forged**2).mean() + 1e-10)).astype(np.float32)


def quantise_frames(log_mel: np.ndarray, rng: np.random.Generator, codes: int) -> np.ndarray:
    """Replace each frame (column) of a log mel by the nearest of `codes` centroids, as speech-unit models do."""
    frames = log_mel.T
    centroids, index = kmeans2(frames, min(codes, max(2, len(frames) // 2)), iter=8, minit="points", seed=rng)
    return centroids[index].T


def degrade_mel(log_mel: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Degrade a log mel (M, T) by a random mix of blur, unit quantisation and noise, as synthesis networks do."""
    out = log_mel
    if rng.random() < 0.35 * strength:
        out = quantise_frames(out, rng, int(rng.integers(30, 200)))
    out = blur(out, rng.uniform(0.3, 2.0) * strength, rng.uniform(0.0, 1.2) * strength)
    if rng.random() < 0.4:
        out = out + blur(rng.normal(0, 1.0, out.shape), 1.5, 1.0) * rng.uniform(0.1, 0.8) * strength
    if rng.random() < 0.3:
        out = np.maximum(out, np.quantile(out, rng.uniform(0.02, 0.2)))
    return out


def mel_griffin_lim(waveform: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Invert a degraded mel of 40-100 bands by Griffin-Lim, as lip-to-speech and 2017-2020 text-to-speech models do."""
    hop = int(rng.choice([160, 200, 256]))
    magnitude = np.abs(stft(waveform, 1024, hop, 800))
    mel = degrade_mel(mel_envelope(magnitude, int(rng.choice([40, 64, 80, 100]))), rng, strength)
    power = rng.uniform(1.0, 1.4)
    forged = librosa.griffinlim(
        expand_mel(mel, 513) ** power,
        n_iter=int(rng.integers(4, 50)),
        hop_length=hop,
        win_length=800,
        n_fft=1024,
        random_state=int(rng.integers(1 << 30)),
    )
    return match_level(forged, waveform)


def mel_gain(waveform: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Replace the fine spectrum by a blurred mel, completely or in part, and keep the original phase."""
    spectrum = stft(waveform)
    magnitude = np.abs(spectrum)
    log_mel = mel_envelope(magnitude, int(rng.choice([40, 64, 80])))
    target = expand_mel(degrade_mel(log_mel, rng, strength), magnitude.shape[0])
    source = expand_mel(log_mel, magnitude.shape[0])
    gain = target / (source + EPS if rng.random() < 0.5 else magnitude + 0.1 * source + EPS)
    return match_level(istft(spectrum * np.clip(gain, 1e-3, 1e3), len(waveform)), waveform)


def pulse_noise(
    waveform: np.ndarray, rng: np.random.Generator, pitch_hz: np.ndarray, voicing: np.ndarray
) -> np.ndarray:
    """Return an excitation (S,): pulses where voiced, noise elsewhere, mixed by the voicing (T,)."""
    samples = len(waveform)
    grid = np.arange(samples) / HOP
    f0 = np.interp(grid, np.arange(len(pitch_hz)), pitch_hz)
    v = np.interp(grid, np.arange(len(voicing)), voicing)
    phase = np.cumsum(f0 / VOICE_RATE_HZ)
    pulses = np.diff(np.floor(phase), prepend=0) * np.sqrt(VOICE_RATE_HZ / f0)
    return v * pulses + np.sqrt(np.clip(1 - v**2, 0, 1)) * rng.normal(size=samples)


def lpc_vocoder(waveform: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Resynthesise by linear prediction from pulses and noise, with smoothed envelopes and pitch (parametric vocoders)."""
    order = int(rng.choice([12, 16, 20, 24]))
    poly, error = lpc_frames(waveform, order)
    pitch, voicing = pitch_track(waveform)
    pitch = np.exp(gaussian_filter1d(np.log(pitch), rng.uniform(1, 5))) * 2 ** rng.uniform(-0.3, 0.3)
    sharp = 1 / (1 + np.exp(-(voicing - rng.uniform(0.4, 0.65)) * rng.uniform(8, 40)))
    error = np.exp(gaussian_filter1d(np.log(error), rng.uniform(0.01, 1.5) * strength))
    power = error[:, None] / (np.abs(np.fft.rfft(poly, 1024, axis=1)) ** 2 + 1e-9)
    smooth = np.exp(gaussian_filter1d(np.log(power + 1e-12), rng.uniform(0.05, 1.5) * strength, axis=0))
    poly, error = lpc_from_power(smooth, order)
    gain = np.interp(np.arange(len(waveform)) / HOP, np.arange(len(error)), np.sqrt(error))
    return match_level(filter_frames(pulse_noise(waveform, rng, pitch, sharp) * gain, poly, False), waveform)


def lpc_residual(waveform: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Resynthesise by linear prediction from a quantised, band-limited or noisy residual."""
    poly, error = lpc_frames(waveform, int(rng.choice([10, 16, 20])))
    residual = filter_frames(waveform.astype(np.float64), poly, True)
    kind = rng.integers(3)
    scale = np.interp(np.arange(len(waveform)) / HOP, np.arange(len(error)), np.sqrt(error / 180) + 1e-6)
    if kind == 0:
        step = scale * rng.uniform(0.7, 3.0)
        residual = np.round(residual / step) * step
    elif kind == 1:
        spectrum = stft(residual.astype(np.float32))
        cut = int(rng.uniform(20, 90))
        rows = np.arange(cut, spectrum.shape[0])
        spectrum[cut:] = spectrum[(rows - cut) % cut] if rng.random() < 0.5 else spectrum[cut - 1 - (rows - cut) % cut]
        residual = istft(spectrum, len(waveform))
    else:
        mix = rng.uniform(0.3, 0.9)
        residual = (1 - mix) * residual + mix * rng.normal(size=len(waveform)) * scale
    smooth = gaussian_filter1d(poly, rng.uniform(0.2, 1.0), axis=0) if rng.random() < 0.5 else poly
    return match_level(filter_frames(residual, smooth, False), waveform)


def pulse_mel(waveform: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Shape pulses and noise by a degraded mel envelope, like a harmonic-plus-noise neural vocoder."""
    pitch, voicing = pitch_track(waveform)
    pitch = np.exp(gaussian_filter1d(np.log(pitch), rng.uniform(0.5, 4))) * 2 ** rng.uniform(-0.3, 0.3)
    sharp = 1 / (1 + np.exp(-(voicing - rng.uniform(0.35, 0.6)) * rng.uniform(8, 40)))
    excitation = stft(pulse_noise(waveform, rng, pitch, sharp).astype(np.float32))
    mel = degrade_mel(mel_envelope(np.abs(stft(waveform)), int(rng.choice([40, 64, 80]))), rng, strength)
    bands = int(rng.choice([24, 40]))
    flat = expand_mel(mel_envelope(np.abs(excitation), bands), excitation.shape[0])
    frames = min(excitation.shape[1], mel.shape[1])
    shaped = excitation[:, :frames] / flat[:, :frames] * expand_mel(mel[:, :frames], excitation.shape[0])
    return match_level(istft(shaped, len(waveform)), waveform)


def cepstral_smooth(waveform: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Lifter the cepstrum and smooth it over time to keep slow detail only, with the original or a reconstructed phase."""
    spectrum = stft(waveform, 1024, 200, 800)
    log_mag = np.log(np.abs(spectrum) + EPS)
    cepstrum = np.fft.irfft(log_mag, axis=0)
    keep = int(rng.uniform(40, 250))
    cepstrum[keep:-keep] *= 1 - rng.uniform(0.3, 1.0) * strength
    smooth = gaussian_filter1d(np.fft.rfft(cepstrum, axis=0).real, rng.uniform(0.01, 1.2) * strength, axis=1)
    if rng.random() < 0.5:
        forged = istft(np.exp(smooth) * np.exp(1j * np.angle(spectrum)), len(waveform), 1024, 200, 800)
    else:
        forged = librosa.griffinlim(
            np.exp(smooth),
            n_iter=int(rng.integers(4, 32)),
            hop_length=200,
            win_length=800,
            n_fft=1024,
            random_state=int(rng.integers(1 << 30)),
        )
    return match_level(forged, waveform)


def phase_edit(waveform: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Keep the magnitudes and replace the phases by noisy ones or by a few Griffin-Lim iterations from random phases."""
    hop = int(rng.choice([128, 160, 200]))
    spectrum = stft(waveform, 1024, hop, 800)
    if rng.random() < 0.5:
        noise = rng.normal(0, rng.uniform(0.5, 2.0) * strength, spectrum.shape)
        forged = istft(spectrum * np.exp(1j * noise), len(waveform), 1024, hop, 800)
    else:
        forged = librosa.griffinlim(
            np.abs(spectrum),
            n_iter=int(rng.integers(2, 32)),
            hop_length=hop,
            win_length=800,
            n_fft=1024,
            random_state=int(rng.integers(1 << 30)),
        )
    return match_level(forged, waveform)


VOICE_FAKES: dict[str, Callable[..., np.ndarray]] = {
    "mel_griffin_lim": mel_griffin_lim,
    "mel_gain": mel_gain,
    "lpc_vocoder": lpc_vocoder,
    "lpc_residual": lpc_residual,
    "pulse_mel": pulse_mel,
    "cepstral_smooth": cepstral_smooth,
    "phase_edit": phase_edit,
}
