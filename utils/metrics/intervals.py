"""Bootstrap intervals for the AUC, resampling clips, groups of clips, or sources.

All are percentile intervals from seeded resampling. The clips are sorted once. The AUC of a resample is computed from
how often each clip was drawn, so a resample needs no sorting. The clips are never subsampled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from utils.metrics.estimate import Interval, as_target_and_score, missing_class
from utils.metrics.ranking import roc_auc

RESAMPLES = 2000
Z_95 = 1.959963984540054
PERCENTILES_95 = (2.5, 97.5)
# Largest resample-by-clip table computed at once; small enough for the processor's cache.
CELLS_AT_ONCE = 1 << 17
# Limits are reported only if at least this share of the resamples contains both classes.
LEAST_VALID_SHARE = 0.5

# Function from a generator and R to the draw counts of the sorted reals and fakes: (R, n_real) and (R, n_fake).
_Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


class _Units(NamedTuple):
    """Units that a bootstrap resamples: their name, their number, and how many contain reals and fakes."""

    noun: str
    n: int
    n_real: int
    n_fake: int


class PairOrder:
    """Sorted reals and fakes, with the number of reals below, and not above, each fake.

    Attributes:
        real: (n_real,) indices of the reals in ascending order of score.
        fake: (n_fake,) indices of the fakes in ascending order of score.
    """

    def __init__(self, target: ArrayLike, score: ArrayLike) -> None:
        """Sort the (n,) scores by class; `target` is 1 for fake, 0 for real."""
        is_fake, score = as_target_and_score(target, score)
        order = np.argsort(score, kind="stable")
        self.real = order[~is_fake[order]]
        self.fake = order[is_fake[order]]
        self._below = np.searchsorted(score[self.real], score[self.fake], side="left")
        self._not_above = np.searchsorted(score[self.real], score[self.fake], side="right")

    def auc(self, real_counts: np.ndarray, fake_counts: np.ndarray) -> np.ndarray:
        """Return the AUCs (R,) of R resamples; NaN if a class was not drawn.

        Args:
            real_counts: (R, n_real) number of times each real was drawn, in the order of ``real``.
            fake_counts: (R, n_fake) number of times each fake was drawn, in the order of ``fake``.
        """
        drawn = np.zeros((len(real_counts), real_counts.shape[1] + 1), dtype=np.int64)
        np.cumsum(real_counts, axis=1, out=drawn[:, 1:])
        half_wins = drawn[:, self._below] + drawn[:, self._not_above]
        pairs = drawn[:, -1] * fake_counts.sum(axis=1)
        won = np.einsum("rf,rf->r", half_wins, fake_counts)
        return np.divide(won, 2 * pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def bootstrap_auc(target: ArrayLike, score: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return the AUC with a 95 % interval from a bootstrap over clips, stratified by class.

    Each resample draws n_real reals and n_fake fakes with replacement. If all resamples have the same AUC (for example
    because every fake scores above every real), Newcombe's limits are used and stated in ``reason``, since ten perfectly
    ranked clips do not prove an AUC of 1.

    Args:
        target: (n,) 1 for fake, 0 for real.
        score: (n,) higher means more likely fake.
        resamples: Number of resamples; 0 omits the limits.
        seed: Seed of the random draws.
    """
    order = PairOrder(target, score)
    n_real, n_fake = len(order.real), len(order.fake)

    def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
        return _multiplicities(rng, rows, n_real), _multiplicities(rng, rows, n_fake)

    units = _Units("clip", n_real + n_fake, n_real, n_fake)
    return _bootstrap(order, roc_auc(target, score).value, units, draw, resamples, seed)


def bootstrap_auc_over_groups(
    target: ArrayLike, score: ArrayLike, groups: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return the AUC with a 95 % interval from a bootstrap over whole groups of clips (cluster bootstrap).

    Clips of one person, source or original video are not independent. Drawing whole groups preserves the dependence and
    gives a correct, wider interval. Resamples that lack a class are discarded.

    Args:
        target: (n,) 1 for fake, 0 for real.
        score: (n,) higher means more likely fake.
        groups: (n,) label of each clip's group.
        resamples: Number of resamples; 0 omits the limits.
        seed: Seed of the random draws.
    """
    order = PairOrder(target, score)
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    if group.shape != np.shape(target):
        raise ValueError("groups must have one label per clip")
    group_of_real, group_of_fake = group[order.real], group[order.fake]

    def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
        counts = _multiplicities(rng, rows, len(names))
        return counts[:, group_of_real], counts[:, group_of_fake]

    units = _Units("group", len(names), len(np.unique(group_of_real)), len(np.unique(group_of_fake)))
    return _bootstrap(order, roc_auc(target, score).value, units, draw, resamples, seed)


def same_source_auc(
    target: ArrayLike, score: ArrayLike, sources: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return the mean of the AUCs within each source with both classes, with a bootstrap interval over sources.

    An AUC pooled over sources also rewards telling the sources apart, for example by face size or codec. Within a
    source, only the forgery distinguishes the classes. All sources have equal weight; the interval is a 95 % one.

    Args:
        target: (n,) 1 for fake, 0 for real.
        score: (n,) higher means more likely fake.
        sources: (n,) label of each clip's source.
        resamples: Number of resamples; 0 omits the limits.
        seed: Seed of the random draws.

    Returns:
        The interval; ``units`` is the number of sources with both classes.
    """
    aucs = np.array(list(auc_within_sources(target, score, sources).values()))
    if len(aucs) == 0:
        return Interval(None, reason="no source has both real and fake clips")
    mean = float(aucs.mean())
    if resamples == 0:
        return Interval(mean, units=len(aucs), reason="no resampling was requested")
    if len(aucs) == 1:
        return Interval(mean, units=1, reason="only 1 source has both classes")
    if np.ptp(aucs) == 0:
        return Interval(mean, units=len(aucs), reason=f"all {len(aucs)} sources have the same AUC")
    counts = _multiplicities(np.random.default_rng(seed), resamples, len(aucs))
    low, high = np.percentile(counts @ aucs / len(aucs), PERCENTILES_95)
    return Interval(mean, float(low), float(high), len(aucs))


def auc_within_sources(target: ArrayLike, score: ArrayLike, sources: ArrayLike) -> dict[str, float]:
    """Return the AUC within each source with both classes, keyed by source name in sorted order."""
    is_fake, score = as_target_and_score(target, score)
    names, source = np.unique(np.asarray(sources), return_inverse=True)
    order = np.argsort(source, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(source[order])) + 1)
    aucs = {str(name): roc_auc(is_fake[part], score[part]).value for name, part in zip(names, parts, strict=True)}
    return {name: auc for name, auc in aucs.items() if auc is not None}


def newcombe_interval(auc: float, n_real: int, n_fake: int) -> tuple[float, float]:
    """Return a 95 % score interval for an AUC from its value and the class sizes (Newcombe, 2006, method 5).

    Unlike a bootstrap interval, it has a non-zero width if the classes are perfectly separated.

    Args:
        auc: The observed AUC.
        n_real: Number of independent real units.
        n_fake: Number of independent fake units.
    """
    mean_size = (n_real + n_fake) / 2 - 1

    def deviation(theta: float) -> float:
        spread = 1 + mean_size * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (theta - auc) ** 2 - Z_95**2 * theta * (1 - theta) * spread / (n_real * n_fake)

    return _outermost_root(deviation, 0.0, auc), _outermost_root(deviation, 1.0, auc)


def _outermost_root(deviation: Callable[[float], float], outer: float, inner: float) -> float:
    """Find by bisection where ``deviation`` changes from positive (outside the interval) to non-positive (inside)."""
    if outer == inner:
        return outer
    for _ in range(60):
        middle = 0.5 * (outer + inner)
        if deviation(middle) > 0:
            outer = middle
        else:
            inner = middle
    return 0.5 * (outer + inner)


def _multiplicities(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
    """Draw n of n units with replacement ``rows`` times and count how often each unit is drawn: (rows, n)."""
    drawn = rng.integers(0, n, size=(rows, n))
    drawn += n * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)


def _bootstrap(order: PairOrder, auc: float | None, units: _Units, draw: _Draw, resamples: int, seed: int) -> Interval:
    """Compute a percentile interval around ``auc`` from the resamples of ``draw``."""
    if auc is None:
        return Interval(None, units=units.n, reason=missing_class(units.n_real, units.n_fake))
    if resamples == 0:
        return Interval(auc, units=units.n, reason="no resampling was requested")
    for number, kind in ((units.n_real, "real"), (units.n_fake, "fake")):
        if number == 1:
            reason = f"only 1 {kind} clip" if units.noun == "clip" else f"only 1 {units.noun} with {kind} clips"
            return Interval(auc, units=units.n, reason=reason)
    rng = np.random.default_rng(seed)
    rows = max(1, CELLS_AT_ONCE // (len(order.real) + len(order.fake)))
    starts = range(0, resamples, rows)
    values = np.concatenate([order.auc(*draw(rng, min(rows, resamples - start))) for start in starts])
    values = values[~np.isnan(values)]
    if len(values) < LEAST_VALID_SHARE * resamples:
        return Interval(auc, units=units.n, reason="more than half of the resamples lack a class")
    if np.ptp(values) == 0:
        low, high = newcombe_interval(auc, units.n_real, units.n_fake)
        return Interval(auc, low, high, units.n, "Newcombe's limits, because resampling shows no spread")
    low, high = np.percentile(values, PERCENTILES_95)
    return Interval(auc, float(low), float(high), units.n)
