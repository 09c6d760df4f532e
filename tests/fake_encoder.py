"""A speech encoder for tests without extra packages. Tasks run in the test process instead of worker processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

import dataset.extraction
import dataset.workers
import engine.fitting.base
from utils.config import Section
from utils.features.encoders import SPEECH_ENCODERS, SpeechEncoder
from utils.features.encoders import base as encoders_base

FAKE = "test_bands"
FRAME = 320


class BandsEncoder(SpeechEncoder):
    """Log energy of three bands every 20 ms."""

    size = 3
    version = "1"
    calls = 0

    def load(self) -> float:
        return 1e-6

    def run(self, model: float, waveform: np.ndarray) -> np.ndarray:
        BandsEncoder.calls += 1
        frames = waveform[: len(waveform) // FRAME * FRAME].reshape(-1, FRAME)
        power = np.abs(np.fft.rfft(frames, axis=1))[:, 1:] ** 2
        return np.log(np.stack([band.sum(axis=1) for band in np.array_split(power, 3, axis=1)], axis=1) + model)


def in_this_process(function: Callable, tasks: Iterable[Any], **_: Any) -> Iterator[tuple[Any, Any, str]]:
    """Run tasks as `run_in_workers` does, but in this process: workers lack the encoder that the test registers."""
    for task in tasks:
        yield task, function(task), ""


@pytest.fixture(scope="module")
def fake_encoder():
    """Register the encoder, reset its call count, and yield its name."""
    BandsEncoder.calls = 0
    with contextlib.ExitStack() as undo:
        patch = undo.enter_context(pytest.MonkeyPatch.context())
        patch.setitem(SPEECH_ENCODERS._entries, FAKE, None)
        del SPEECH_ENCODERS._entries[FAKE]
        SPEECH_ENCODERS.register(FAKE, Section)(BandsEncoder)
        for module in (dataset.extraction, engine.fitting.base, dataset.workers):
            patch.setattr(module, "run_in_workers", in_this_process)
        yield FAKE
    encoders_base._made.cache_clear()
