"""The interface of frozen speech encoders, which map a waveform to a sequence of embeddings."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from utils.config import Section
from utils.errors import UsageError
from utils.packages import is_installed
from utils.registry import Registry

ENCODER_RATE_HZ = 16_000
"""Sample rate of the input of every encoder."""


class SpeechEncoder(ABC):
    """A frozen encoder. The constructor only checks that its packages are installed; the model loads on first use.

    Attributes:
        name: name in configs.
        size: D, the length of an embedding.
        version: text that changes whenever the embeddings of the same waveform may change.
    """

    needs: ClassVar[Mapping[str, str]] = {}
    """Imported module -> pip requirement that provides it."""

    shortest_s: ClassVar[float] = 0.1
    """Shorter waveforms are padded with zeros to this length."""

    name: str
    size: int

    def __init__(self, name: str) -> None:
        """Check that the packages are installed.

        Raises:
            UsageError: a package is missing.
        """
        self.name = name
        for module, package in self.needs.items():
            if not is_installed(module):
                raise UsageError(
                    f"the speech encoder {name} needs the package {package}, which is not installed; run `make encoders`"
                )
        self._model: Any = None

    @cached_property
    def version(self) -> str:
        """The versions of the packages, unless a subclass overrides it."""
        names = [re.split("[=<>]", package)[0] for package in self.needs.values()]
        return " ".join(f"{name}=={importlib.metadata.version(name)}" for name in names)

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Encode a waveform.

        Args:
            waveform: (S,) float32 in about [-1, 1] at `ENCODER_RATE_HZ`, a few seconds long.

        Returns:
            (T, D) float32, T >= 1, in temporal order.
        """
        if self._model is None:
            self._model = self.load()
        missing = int(self.shortest_s * ENCODER_RATE_HZ) - len(waveform)
        padded = np.pad(waveform.astype(np.float32), (0, max(0, missing)))
        return np.asarray(self.run(self._model, padded), np.float32).reshape(-1, self.size)

    def pooled(self, waveform: np.ndarray) -> np.ndarray:
        """Return mean and standard deviation over time of the embeddings of a waveform (S,): (2 D,) float32."""
        moments = self.encode(waveform).astype(np.float64)
        return np.concatenate([moments.mean(axis=0), moments.std(axis=0)]).astype(np.float32)

    @abstractmethod
    def load(self) -> Any:
        """Load the model. Called once per encoder."""

    @abstractmethod
    def run(self, model: Any, waveform: np.ndarray) -> Any:
        """Compute the embeddings of a waveform (S,) float32 of at least `shortest_s`.

        Returns:
            (T, D); extra axes of length 1 are allowed.
        """


SPEECH_ENCODERS: Registry[Section, SpeechEncoder] = Registry("speech encoder")
"""Encoders by name. An encoder interprets the part of a config's name after `/` itself: `transformers/<model>`."""


def check_encoder_name(name: str) -> None:
    """Check that the encoder of this name is registered.

    Raises:
        UsageError: unknown name; the message suggests the nearest name and lists all names.
    """
    SPEECH_ENCODERS.get(name.partition("/")[0])


def speech_encoder(name: str) -> SpeechEncoder:
    """Return the encoder of this name, which is created once per process.

    Raises:
        UsageError: unknown name, or a package or model file is missing.
    """
    return _made(name, os.getpid())


@lru_cache(maxsize=4)
def _made(name: str, process: int) -> SpeechEncoder:
    """Create an encoder. The process id is part of the cache key because a multi-threaded model does not survive a fork."""
    del process
    check_encoder_name(name)
    return SPEECH_ENCODERS.get(name.partition("/")[0]).built_class(name)


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Limit torch to one thread, so embeddings of a waveform are bit-identical in every process."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
