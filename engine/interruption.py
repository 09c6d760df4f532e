"""Handling of Ctrl-C, SIGTERM and SIGHUP while clips are scored: what has been decoded is still scored."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

from dataset.samples import Sample
from utils.features.clip import ClipFacts, ClipFeatures
from utils.interruption import interruption_deferred

ResultT = TypeVar("ResultT")

FINISHING = "interrupted: scoring the clips that have been decoded; interrupt again to stop immediately"

log = logging.getLogger(__name__)


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
            log.warning(FINISHING)
            self.caught = interruption

    def finish(self, function: Callable[[], ResultT]) -> ResultT:
        """Call a function to its end, also if it is interrupted once, and return its result."""
        results: list[ResultT] = []
        try:
            with interruption_deferred(FINISHING):
                results.append(function())
        except KeyboardInterrupt as interruption:
            if not results:
                raise
            self.caught = interruption
        return results[0]
