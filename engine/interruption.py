"""Handling of Ctrl-C, SIGTERM and SIGHUP while clips are scored."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

from dataset.samples import Sample
from utils.features.clip import ClipFacts, ClipFeatures

ResultT = TypeVar("ResultT")

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

log = logging.getLogger(__name__)


@contextlib.contextmanager
def interruption_deferred() -> Iterator[None]:
    """Delay Ctrl-C, SIGTERM and SIGHUP until the end of the block. A second one takes effect immediately."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
        yield
        return
    # A signal that is ignored, or that ends the process, has no handler and stays as it is.
    before: dict[int, Any] = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    received: list[tuple[int, FrameType | None]] = []

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def record(number: int, frame: FrameType | None) -> None:
        received.append((number, frame))
        restore()
        log.info("interrupted: finishing the clips that have been decoded; interrupt again to stop immediately")

    for number in before:
        signal.signal(number, record)
    try:
        yield
    finally:
        restore()
    for received_number, frame in received:
        before[received_number](received_number, frame)


class Interruption:
    """An interruption of scoring, after which the clips that have been decoded are still scored.

    Attributes:
        caught: the exception to raise at the end; `None` without an interruption.
    """

    def __init__(self) -> None:
        """Start without an interruption."""
        self.caught: KeyboardInterrupt | None = None

    def clips(self, features: Generator[ClipFeatures, None, None]) -> Iterator[ClipFeatures]:
        """Iterate over clips until interrupted, then stop decoding."""
        with contextlib.closing(features):
            for clip in features:
                yield clip
                if self.caught is not None:
                    return

    def samples(self, samples: Iterable[tuple[Sample, ClipFacts]]) -> Iterator[tuple[Sample, ClipFacts]]:
        """Iterate over samples until interrupted while waiting for one."""
        try:
            yield from samples
        except KeyboardInterrupt as interruption:
            self.caught = interruption

    def finish(self, function: Callable[[], ResultT]) -> ResultT:
        """Call a function to its end, also if it is interrupted once, and return its result."""
        results: list[ResultT] = []
        try:
            with interruption_deferred():
                results.append(function())
        except KeyboardInterrupt as interruption:
            if not results:
                raise
            self.caught = interruption
        return results[0]
