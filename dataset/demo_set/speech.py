"""A formant synthesiser that plans a random utterance and generates its waveform and lip movements.

Source-filter synthesis after Klatt, "Software for a cascade/parallel formant synthesizer" (JASA 1980), simplified. A
glottal pulse train (Rosenberg, JASA 1971) with jitter and shimmer passes through five resonators in cascade. Filtered noise
is added for fricatives and bursts. Formant targets are the averages of Peterson and Barney (JASA 1952).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import fftconvolve, iirpeak, lfilter, sosfilt

from dataset.demo_set.identity import Voice

SAMPLE_RATE_HZ = 24_000
CONTROL_RATE_HZ = 200
PREROLL_S = 0.1
_HOP = SAMPLE_RATE_HZ // CONTROL_RATE_HZ
_BLOCK_CONTROLS = 3
_BANDWIDTHS_HZ = np.array([80.0, 100.0, 140.0, 220.0, 300.0])


@dataclass(frozen=True)
class Phone:
    """Targets of one phone: three formants, voicing and noise gains, noise band, duration and lips.

    ``opening`` is the mouth opening in [0, 1]; ``spread`` the lip width from -1 (rounded) to 1 (spread).
    """

    formants_hz: tuple[float, float, float]
    voicing: float
    noise: float
    noise_hz: float
    duration_s: float
    opening: float
    spread: float


def _vowel(f1: float, f2: float, f3: float, opening: float, spread: float) -> Phone:
    return Phone((f1, f2, f3), 1.0, 0.0, 2500.0, 0.13, opening, spread)


VOWELS = (
    _vowel(270, 2290, 3010, 0.28, 0.9),
    _vowel(390, 1990, 2550, 0.35, 0.5),
    _vowel(530, 1840, 2480, 0.55, 0.4),
    _vowel(660, 1720, 2410, 0.85, 0.4),
    _vowel(730, 1090, 2440, 1.0, 0.0),
    _vowel(570, 840, 2410, 0.75, -0.6),
    _vowel(440, 1020, 2240, 0.40, -0.6),
    _vowel(300, 870, 2240, 0.22, -1.0),
    _vowel(640, 1190, 2390, 0.65, 0.0),
    _vowel(490, 1350, 1690, 0.45, -0.2),
)
CONSONANTS = (
    Phone((200, 1000, 2200), 0.35, 0.0, 2500, 0.07, 0.0, 0.0),  # m
    Phone((220, 1600, 2600), 0.35, 0.0, 2500, 0.06, 0.15, 0.1),  # n
    Phone((250, 900, 2200), 0.02, 0.25, 1200, 0.08, 0.0, 0.0),  # p, b
    Phone((250, 1700, 2700), 0.02, 0.45, 4200, 0.07, 0.2, 0.2),  # t, d
    Phone((250, 1900, 2500), 0.02, 0.40, 2200, 0.08, 0.3, 0.1),  # k, g
    Phone((300, 1700, 2600), 0.03, 0.75, 6800, 0.10, 0.12, 0.6),  # s
    Phone((300, 1800, 2500), 0.03, 0.70, 3400, 0.10, 0.2, -0.5),  # sh
    Phone((300, 1100, 2300), 0.05, 0.30, 7800, 0.09, 0.06, 0.1),  # f, v
    Phone((350, 1100, 2600), 0.65, 0.0, 2500, 0.06, 0.3, 0.1),  # l
    Phone((320, 1100, 1500), 0.60, 0.0, 2500, 0.07, 0.25, -0.5),  # r
    Phone((280, 700, 2200), 0.60, 0.0, 2500, 0.07, 0.12, -1.0),  # w
    Phone((260, 2200, 3000), 0.60, 0.0, 2500, 0.06, 0.2, 0.8),  # y
)
_STOPS = CONSONANTS[2:5]
_PAUSE = Phone((480, 1400, 2450), 0.0, 0.0, 2500, 0.3, 0.03, 0.05)


@dataclass(frozen=True)
class SpeechPlan:
    """Control tracks of one utterance at ``CONTROL_RATE_HZ``, each of length N (``formants_hz``: (N, 3))."""

    formants_hz: np.ndarray
    voicing: np.ndarray
    noise: np.ndarray
    noise_hz: np.ndarray
    f0_hz: np.ndarray
    opening: np.ndarray
    spread: np.ndarray
    seed: int

    def lips_at(self, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mouth opening in [0, 1] and spread in [-1, 1] at the given times, each (T,)."""
        grid_s = np.arange(len(self.opening)) / CONTROL_RATE_HZ
        return np.interp(times_s, grid_s, self.opening), np.interp(times_s, grid_s, self.spread)


def plan_speech(voice: Voice, duration_s: float, rng: np.random.Generator) -> SpeechPlan:
    """Draw an utterance: phrases of random syllables with a falling, accented F0 contour, separated by pauses."""
    phones, accents = _syllables(voice, duration_s, rng)
    lengths = [max(2, round(duration * CONTROL_RATE_HZ)) for _, duration in phones]
    n = int(np.ceil(duration_s * CONTROL_RATE_HZ))

    def track(values: list) -> np.ndarray:
        return np.repeat(np.array(values, dtype=float), lengths, axis=0)[:n]

    noise = track([phone.noise for phone, _ in phones])
    start = 0
    for (phone, _), length in zip(phones, lengths, strict=True):
        if phone in _STOPS:  # A stop is silence followed by a burst in the last third.
            noise[start : start + length - max(1, length // 3)] = 0
        start += length
    f0 = voice.f0_hz * np.exp(gaussian_filter1d(track(accents), 12) + _drift(rng, n, 9, 0.012))
    return SpeechPlan(
        formants_hz=gaussian_filter1d(track([phone.formants_hz for phone, _ in phones]), 3.5, axis=0),
        voicing=gaussian_filter1d(track([phone.voicing for phone, _ in phones]), 1.6),
        noise=noise,
        noise_hz=track([phone.noise_hz for phone, _ in phones]),
        f0_hz=f0,
        opening=np.clip(gaussian_filter1d(track([phone.opening for phone, _ in phones]), 6), 0, 1),
        spread=gaussian_filter1d(track([phone.spread for phone, _ in phones]), 8),
        seed=int(rng.integers(2**31)),
    )


def synthesise(voice: Voice, plan: SpeechPlan, start_s: float, duration_s: float) -> np.ndarray:
    """Synthesise the window [start_s, start_s + duration_s) of an utterance as (S,) float32 at 24 kHz, RMS about 0.1."""
    first = max(0, int((start_s - PREROLL_S) * CONTROL_RATE_HZ))
    last = min(len(plan.voicing), int(np.ceil((start_s + duration_s) * CONTROL_RATE_HZ)) + 1)
    window = slice(first, last)
    rng = np.random.default_rng([plan.seed, first])
    n = (last - first) * _HOP
    at = np.arange(n) / _HOP
    grid = np.arange(last - first)
    voicing = np.interp(at, grid, plan.voicing[window])
    white = rng.standard_normal(n)
    glottal = _glottal_source(voice, np.interp(at, grid, plan.f0_hz[window]), rng)
    source = voicing * (glottal + voice.breathiness * white)
    formants = np.column_stack([plan.formants_hz[window], np.full(last - first, 3500.0), np.full(last - first, 4500.0)])
    voiced = _time_varying_filter(source, formants * voice.tract_scale, np.tile(_BANDWIDTHS_HZ, (last - first, 1)))
    dry = voiced / 0.35 + 0.5 * _hiss(white, plan, window, at, voice)
    wet = _reverberate(dry, voice.reverb_s, rng)
    begin = round((start_s - first / CONTROL_RATE_HZ) * SAMPLE_RATE_HZ)
    samples = wet[begin : begin + round(duration_s * SAMPLE_RATE_HZ)]
    return (0.1 * samples / (np.sqrt(np.mean(samples**2)) + 1e-4)).astype(np.float32)


def _syllables(
    voice: Voice, duration_s: float, rng: np.random.Generator
) -> tuple[list[tuple[Phone, float]], list[float]]:
    phones: list[tuple[Phone, float]] = []
    accents: list[float] = []
    total_s = 0.0

    def add(phone: Phone, seconds: float, accent: float) -> None:
        nonlocal total_s
        phones.append((phone, seconds))
        accents.append(accent)
        total_s += max(2, round(seconds * CONTROL_RATE_HZ)) / CONTROL_RATE_HZ

    pace = 4.4 / voice.syllable_rate_hz
    add(_PAUSE, rng.uniform(0.05, 0.4), 0.0)
    while total_s < duration_s:
        n_syllables = int(rng.integers(3, 10))
        for index in range(n_syllables):
            level = voice.f0_span * (0.9 - 1.5 * index / n_syllables + rng.normal(0, 0.45))
            if rng.random() < 0.9:
                onset = CONSONANTS[rng.integers(len(CONSONANTS))]
                add(onset, onset.duration_s * pace * rng.uniform(0.8, 1.25), level)
            stretch = 1.5 if index == n_syllables - 1 else 1.0
            add(VOWELS[rng.integers(len(VOWELS))], 0.115 * pace * stretch * rng.uniform(0.75, 1.45), level)
            if rng.random() < 0.25:
                coda = CONSONANTS[rng.integers(len(CONSONANTS))]
                add(coda, coda.duration_s * pace * rng.uniform(0.7, 1.0), level)
        add(_PAUSE, rng.uniform(0.12, 0.5), 0.0)
    return phones, accents


def _drift(rng: np.random.Generator, n: int, sigma: float, scale: float) -> np.ndarray:
    smooth = gaussian_filter1d(rng.standard_normal(n), sigma)
    return scale * smooth / (smooth.std() + 1e-9)


def _glottal_source(voice: Voice, f0_hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Generate derivatives of Rosenberg pulses with random period (jitter) and amplitude (shimmer)."""
    cycle = np.floor(np.cumsum(f0_hz) / SAMPLE_RATE_HZ).astype(int)
    jitter = 1 + voice.jitter * rng.standard_normal(cycle[-1] + 2)
    shimmer = 1 + voice.shimmer * rng.standard_normal(2 * cycle[-1] + 16)
    position = np.cumsum(f0_hz * jitter[cycle]) / SAMPLE_RATE_HZ
    phase = position % 1.0
    rise = 0.66 * voice.open_quotient
    fall = voice.open_quotient - rise
    opening = np.where(phase < rise, np.sin(np.pi * phase / rise) * (0.5 * np.pi / rise), 0)
    in_fall = (phase >= rise) & (phase < voice.open_quotient)
    closing = np.where(in_fall, -np.sin(0.5 * np.pi * (phase - rise) / fall) * (0.5 * np.pi / fall), 0)
    pulse = (opening + closing) * shimmer[position.astype(int)]
    return pulse / (np.sqrt(np.mean(pulse**2)) + 1e-9)


def _hiss(white: np.ndarray, plan: SpeechPlan, window: slice, at: np.ndarray, voice: Voice) -> np.ndarray:
    """Generate frication: white noise filtered to the band of each consonant and weighted by its gain."""
    total = np.zeros_like(white)
    for band_hz in np.unique(plan.noise_hz[plan.noise > 0]):
        gain = gaussian_filter1d(np.where(plan.noise_hz == band_hz, plan.noise, 0.0), 1.0)[window]
        centre_hz = min(band_hz * voice.tract_scale**0.5, 0.45 * SAMPLE_RATE_HZ)
        numerator, denominator = iirpeak(centre_hz, 3.0, fs=SAMPLE_RATE_HZ)
        total += np.interp(at, np.arange(len(gain)), gain) * 2.5 * lfilter(numerator, denominator, white)
    return total


def _time_varying_filter(source: np.ndarray, centres_hz: np.ndarray, bandwidths_hz: np.ndarray) -> np.ndarray:
    """Apply resonators in cascade, each with unit gain at DC. Coefficients change every 15 ms; the filter state carries over.

    Args:
        source: (N * hop,) samples.
        centres_hz: (N, R) centre frequencies.
        bandwidths_hz: (N, R) bandwidths at -3 dB.
    """
    step = _BLOCK_CONTROLS * _HOP
    centres = centres_hz[::_BLOCK_CONTROLS]
    radius = np.exp(-np.pi * bandwidths_hz[::_BLOCK_CONTROLS] / SAMPLE_RATE_HZ)
    angle = 2 * np.pi * np.minimum(centres, 0.47 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    a1, a2 = -2 * radius * np.cos(angle), radius**2
    sections = np.zeros((*centres.shape, 6))
    sections[..., 0] = 1 + a1 + a2
    sections[..., 3], sections[..., 4], sections[..., 5] = 1, a1, a2
    state = np.zeros((centres.shape[1], 2))
    out = np.empty_like(source)
    for index, section in enumerate(sections):
        block = slice(index * step, (index + 1) * step)
        out[block], state = sosfilt(section, source[block], zi=state)
    return out


def _reverberate(samples: np.ndarray, reverb_s: float, rng: np.random.Generator) -> np.ndarray:
    n = max(8, int(reverb_s * 3 * SAMPLE_RATE_HZ))
    tail = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n)
    response = 0.22 * tail / np.sqrt(np.sum(tail**2))
    response[0] = 1.0
    return fftconvolve(samples, response)[: len(samples)]
