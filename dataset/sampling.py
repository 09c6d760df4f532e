"""Order of the training clips: shuffled or drawn by class and source, and divided into batches and among processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


def draw_chances(targets: np.ndarray, sources: np.ndarray | None, *, balance_classes: bool) -> np.ndarray | None:
    """Return each clip's chance of being drawn, (N,) float64 with sum 1; `None` if every clip is used once per epoch.

    Args:
        targets: (N,) 1 for fake, 0 for real; both occur.
        sources: (N,) text: draw all sources equally often, with `balance_classes` within each class; `None`: all clips.
        balance_classes: draw real and fake clips equally often.
    """
    if sources is None and not balance_classes:
        return None
    chances = np.ones(len(targets))
    if sources is not None:
        groups = np.unique(sources, return_inverse=True)[1]
        if balance_classes:
            groups = 2 * groups + (targets == 1)
        chances = 1.0 / np.bincount(groups)[groups]
    if balance_classes:
        fake = targets == 1
        return np.where(fake, 0.5 * chances / chances[fake].sum(), 0.5 * chances / chances[~fake].sum())
    return chances / chances.sum()


class EpochSampler(Sampler[int]):
    """A random order of the training clips that depends only on the seed and the epoch."""

    def __init__(self, count: int, *, seed: int, chances: np.ndarray | None = None) -> None:
        """Use every one of `count` clips once, or draw `count` clips with replacement if their chances are given."""
        self._count = count
        self._chances = chances
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Iterate over rows of the label table."""
        rng = np.random.default_rng((self._seed, self._epoch))
        if self._chances is not None:
            return iter(rng.choice(self._count, size=self._count, p=self._chances).tolist())
        return iter(rng.permutation(self._count).tolist())

    def __len__(self) -> int:
        """Return the number of clips per epoch."""
        return self._count


class BatchShare(Sampler[list[int]]):
    """The share of one of several processes in the batches of a sampler.

    Process r of W gets the clips r, r + W, r + 2W, ... of each batch. If the last batch has no clip for a process, that
    process has one batch less than the others.
    """

    def __init__(self, order: Sampler[int] | Sequence[int], batch_size: int, *, rank: int = 0, size: int = 1) -> None:
        """Divide `order` into batches of `batch_size` clips, and each batch among `size` processes."""
        self._order = order
        self._batch_size = batch_size
        self._rank = rank
        self._size = size

    def __iter__(self) -> Iterator[list[int]]:
        """Iterate over the clips of this process, batch by batch."""
        order = list(self._order)
        for start in range(0, len(order), self._batch_size):
            share = order[start : start + self._batch_size][self._rank :: self._size]
            if share:
                yield share

    def __len__(self) -> int:
        """Return the number of batches of this process."""
        whole, rest = divmod(len(self._order), self._batch_size)  # type: ignore[arg-type]
        return whole * (self._batch_size > self._rank) + (rest > self._rank)
