"""Speech embeddings of a clip: what a frozen encoder hears in each of its windows, kept on disk by content."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np

from utils.features.encoders import SpeechEncoder, speech_encoder
from utils.features.voice import VOICE_VERSION, describe, voice_waveform
from utils.files import atomic_path

EMBEDDING_VERSION = 1
"""Raise it when the same sound and encoder would give other numbers than before."""


def embedding_size(encoder: str | None) -> int:
    """E, the length of a window's embedding (mean and standard deviation over time); 0 where no encoder is asked for.

    Raises:
        UsageError: see `speech_encoder`.
    """
    return 0 if encoder is None else 2 * speech_encoder(encoder).size


def encoder_fingerprint(encoder: SpeechEncoder) -> str:
    """Text that differs whenever the encoder's embeddings of the same sound may."""
    return json.dumps([encoder.name, encoder.version, EMBEDDING_VERSION, VOICE_VERSION])


def embedding_of_pcm(samples: np.ndarray, rate_hz: int, encoder_name: str, kept_in: Path | None = None) -> np.ndarray:
    """Describe a recording by the pooled embeddings of the windows that `voice_windows` cuts.

    Args:
        samples: (S,) int16 mono, as a 16-bit wav file holds it.
        rate_hz: its sample rate.
        encoder_name: see `utils.features.encoders`.
        kept_in: folder of embeddings that were made before, by encoder, version and recording; what is not there is put there.

    Returns:
        (W, E) float32.
    """
    encoder = speech_encoder(encoder_name)
    kept = None
    if kept_in is not None:
        content = hashlib.sha256(encoder_fingerprint(encoder).encode())
        content.update(f" {rate_hz} ".encode())
        content.update(samples.tobytes())
        kept = kept_in / f"{content.hexdigest()[:32]}.npy"
        rows = read_rows(kept, 2 * encoder.size)
        if rows is not None:
            return rows
    rows = describe(voice_waveform(samples, rate_hz), encoder.pooled)
    if kept is not None:
        # Where nothing can be written the embeddings are merely made again.
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(kept) as temporary, open(temporary, "wb") as file:
                np.save(file, rows, allow_pickle=False)
    return rows


def read_rows(path: Path, size: int) -> np.ndarray | None:
    """Kept embeddings (W, E); `None` where there are none, or no whole ones."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    return rows if rows.ndim == 2 and rows.shape[1] == size and rows.dtype == np.float32 else None
