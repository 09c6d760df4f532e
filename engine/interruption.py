"""Handling of Ctrl-C while clips are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dataset.samples import Sample
from utils.features.clip import ClipFacts


class UntilInterrupted:
    """Iterable that ends early on Ctrl-C, so that samples that are already decoded are still scored."""

    def __init__(self, samples: Iterable[tuple[Sample, ClipFacts]]) -> None:
        """Wrap samples."""
        self._samples = samples
        self.interruption: KeyboardInterrupt | None = None

    def __iter__(self) -> Iterator[tuple[Sample, ClipFacts]]:
        """Iterate until interrupted."""
        try:
            yield from self._samples
        except KeyboardInterrupt as interruption:
            self.interruption = interruption
