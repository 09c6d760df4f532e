"""Speech embeddings: output of a frozen encoder for each window of the waveform, cached on disk by content."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator

from utils.errors import UsageError
from utils.features.base import FEATURES, ArraySpec, Feature
from utils.features.clip import ClipFacts
from utils.features.encoders import SpeechEncoder, check_encoder_name, speech_encoder
from utils.features.voice import MAX_WINDOWS, VOICE_VERSION, voice_waveform, window_features
from utils.features.waveform import Pcm
from utils.files import DAMAGED_ARRAY, atomic_path

EMBEDDING_VERSION = 1
"""Increase this if the same waveform and encoder give different values than before."""

EMBEDDINGS_FOLDER = "speech_embedding"
"""Cache folder below `<split>_raw`."""


def _known_encoder(name: str | None) -> str | None:
    if name is not None:
        try:
            check_encoder_name(name)
        except UsageError as error:
            raise ValueError(str(error)) from None
    return name


SpeechEncoderName = Annotated[str | None, AfterValidator(_known_encoder)]
"""Type of `features.speech_encoder`: the name of a registered encoder."""


@FEATURES.register("speech_embedding", str)
class SpeechEmbeddingFeature(Feature):
    """Speech embeddings of a clip's windows, derived from the waveform. Its value is (W, E) float32."""

    name, key, fed, inputs = "speech_embedding", "speech_encoder", ("waveform",), ("speech_embedding",)
    cached = True

    @classmethod
    def enable(cls, config: Any) -> Any:
        """Return the config unchanged, since there is no default encoder."""
        return config

    def check(self) -> None:
        """Check that an encoder is named."""
        if self.config.speech_encoder is None:
            raise UsageError("speech embeddings need features.speech_encoder, the name of an encoder")

    def require(self) -> None:
        """Check that the encoder's packages and model are installed."""
        self.check()
        speech_encoder(str(self.config.speech_encoder))

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Declare one array: (`MAX_WINDOWS`, E) float32 with a mask over windows."""
        shape = (MAX_WINDOWS, embedding_size(self.config.speech_encoder))
        return (ArraySpec("speech_embedding", shape, np.float32, padded=True),)

    def to_arrays(self, value: Any, facts: ClipFacts) -> Mapping[str, np.ndarray | None]:
        """Return the windows, or `None` for a silent track."""
        return {"speech_embedding": None if "silent" in facts.reasons else value}

    def derive(self, sources: Mapping[str, Any], cache_dir: Path | None) -> Any:
        """Compute the embeddings of the waveform's windows."""
        pcm: Pcm = sources["waveform"]
        folder = None if cache_dir is None else cache_dir / EMBEDDINGS_FOLDER
        return embedding_of_pcm(pcm.samples, pcm.rate_hz, str(self.config.speech_encoder), folder)


def embedding_size(encoder: str | None) -> int:
    """Return E, the length of a window's embedding (mean and standard deviation over time); 0 without an encoder.

    Raises:
        UsageError: see `speech_encoder`.
    """
    return 0 if encoder is None else 2 * speech_encoder(encoder).size


def encoder_fingerprint(encoder: SpeechEncoder) -> str:
    """Return a text that changes whenever the embeddings of the same waveform may change."""
    return json.dumps([encoder.name, encoder.version, EMBEDDING_VERSION, VOICE_VERSION])


def embedding_of_pcm(samples: np.ndarray, rate_hz: int, encoder_name: str, cache_dir: Path | None = None) -> np.ndarray:
    """Compute the pooled embeddings of the windows that `voice_windows` cuts.

    Args:
        samples: (S,) int16 mono, as stored in a 16-bit WAV file.
        rate_hz: sample rate.
        encoder_name: see `utils.features.encoders`.
        cache_dir: cache of embeddings, keyed by encoder, version and waveform; `None` for no cache.

    Returns:
        (W, E) float32.
    """
    encoder = speech_encoder(encoder_name)
    cache_path = None
    if cache_dir is not None:
        content = hashlib.sha256(encoder_fingerprint(encoder).encode())
        content.update(f" {rate_hz} ".encode())
        content.update(samples.tobytes())
        cache_path = cache_dir / f"{content.hexdigest()[:32]}.npy"
        rows = read_rows(cache_path, 2 * encoder.size)
        if rows is not None:
            return rows
    rows = window_features(voice_waveform(samples, rate_hz), encoder.pooled)
    if cache_path is not None:
        # If the cache cannot be written, the embeddings are computed again next time.
        with contextlib.suppress(OSError):
            cache_path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(cache_path) as temporary, open(temporary, "wb") as file:
                np.save(file, rows, allow_pickle=False)
    return rows


def read_rows(path: Path, size: int) -> np.ndarray | None:
    """Return cached embeddings (W, E); `None` if they are absent or damaged."""
    try:
        rows = np.load(path, allow_pickle=False)
    except DAMAGED_ARRAY:
        return None
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != size or rows.dtype != np.float32:
        return None
    return rows if np.isfinite(rows).all() else None
