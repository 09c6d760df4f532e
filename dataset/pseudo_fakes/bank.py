"""Training rows of one real recording: windows of it and of its forgeries, all post-processed alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dataset.pseudo_fakes.post_process import post_process
from dataset.pseudo_fakes.voice import VOICE_FAKES
from utils.features.voice import VOICE_RATE_HZ, voice_features, voice_windows

BANK_VERSION = 1
"""Raise it when the same recording and seed would give other rows: kept rows are then made anew."""

CROP_S = 6
REAL, SYNTHETIC = "real", "synthetic"
"""Names of rows that are no pseudo-fake: a real voice, and one from a speech synthesiser."""


@dataclass(frozen=True)
class BankConfig:
    """How many rows a recording gives.

    Attributes:
        real_copies: rows of the recording itself, each post-processed anew.
        fake_copies: rows of each family of `VOICE_FAKES`.
        synthetic_copies: rows of a synthesiser's utterance; the first as it is, the others post-processed.
    """

    real_copies: int = 8
    fake_copies: int = 2
    synthetic_copies: int = 3


def random_crop(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`CROP_S` seconds from anywhere, at an RMS of 0.1."""
    waveform = 0.1 * waveform / (np.sqrt((waveform**2).mean()) + 1e-6)
    start = int(rng.integers(0, max(1, len(waveform) - CROP_S * VOICE_RATE_HZ + 1)))
    return waveform[start : start + CROP_S * VOICE_RATE_HZ]


Describe = Callable[[np.ndarray], np.ndarray]
"""Features (D,) of a window (S,) at 16 kHz."""


def one_window(waveform: np.ndarray, rng: np.random.Generator, features: Describe) -> np.ndarray:
    """Features (D,) of a random window."""
    choices = voice_windows(waveform)
    return features(choices[int(rng.integers(len(choices)))])


def real_rows(
    waveform: np.ndarray, rng: np.random.Generator, config: BankConfig, features: Describe = voice_features
) -> tuple[np.ndarray, list[str]]:
    """Rows of a real recording (S,) at 16 kHz: features (N, D) float32, and what each is: `real` or a family's name.

    Whatever the features, the same `rng` gives the same forgeries.
    """
    copies = config.real_copies
    rows = [one_window(post_process(random_crop(waveform, rng), rng), rng, features) for _ in range(copies)]
    kinds = [REAL] * copies
    for family, forge in VOICE_FAKES.items():
        for _ in range(config.fake_copies):
            rows.append(one_window(post_process(forge(random_crop(waveform, rng), rng), rng), rng, features))
            kinds.append(family)
    return np.stack(rows), kinds


def synthetic_rows(
    waveform: np.ndarray, rng: np.random.Generator, config: BankConfig, features: Describe = voice_features
) -> tuple[np.ndarray, list[str]]:
    """Rows of a synthesiser's utterance (S,) at 16 kHz, as `real_rows` gives them, all `synthetic`."""
    rows = []
    for copy in range(config.synthetic_copies):
        crop = random_crop(waveform, rng)
        rows.append(one_window(crop if copy == 0 else post_process(crop, rng), rng, features))
    return np.stack(rows), [SYNTHETIC] * len(rows)
