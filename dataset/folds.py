"""Splits and folds that keep related clips together: groups by connected components, greedy balanced assignment.

Two clips are related when they share a value in any of the given columns (identity, source, ...) or when a list of pairs says
so (near-duplicates, say); relation passes on, so a group is a connected component. Groups are dealt out largest first, each to
the part that it brings nearest to its share of every stratum (all clips, each target, each type): the greedy rule of
stratified group k-fold, with shares that may differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from utils.errors import UsageError

LARGE_GROUP_SHARE = 0.5
"""A group with more than this share of all clips cannot be balanced away and is reported."""


def related_groups(
    labels: pd.DataFrame, columns: Sequence[str] = (), pairs: Iterable[tuple[int, int]] = ()
) -> np.ndarray:
    """Find the connected components of clips that share a value or form a pair.

    Args:
        labels: one row per clip; an empty cell relates a clip to nothing.
        columns: columns whose values relate clips; a value relates within its own column only.
        pairs: related rows.

    Returns:
        (N,) int64, numbered from 0 in the order of each group's first row.

    Raises:
        UsageError: a column that the table does not have.
    """
    n = len(labels)
    pairs = np.asarray(list(pairs), np.int64).reshape(-1, 2)
    rows, nodes, n_nodes = [pairs[:, 0]], [pairs[:, 1]], n
    for column in columns:
        values = column_values(labels, column)
        known = np.flatnonzero(values != "")
        codes, uniques = pd.factorize(values[known])
        rows.append(known)
        nodes.append(n_nodes + codes)
        n_nodes += len(uniques)
    first, second = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(n_nodes, n_nodes))
    _, component = connected_components(graph, directed=False)
    return pd.factorize(component[:n])[0]


def column_values(labels: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as stripped text, (N,) object; empty cells are empty strings.

    Raises:
        UsageError: the table does not have the column.
    """
    if column not in labels:
        raise UsageError(f"the labels have no column {column!r}; there are {', '.join(labels.columns)}")
    values = labels[column]
    return values.astype(object).where(values.notna(), "").astype(str).str.strip().to_numpy(object)


def stratum_counts(labels: pd.DataFrame, groups: np.ndarray) -> np.ndarray:
    """Clips of each group in each stratum, (G, strata) float64: all clips, then each target, then each type."""
    indicators = [np.ones((len(labels), 1))]
    for column in ("target", "type"):
        if column in labels:
            values = column_values(labels, column)
            indicators.append(pd.get_dummies(values).to_numpy(float))
    counts = np.zeros((int(groups.max()) + 1, sum(part.shape[1] for part in indicators)))
    np.add.at(counts, groups, np.concatenate(indicators, axis=1))
    return counts


def assign_groups(labels: pd.DataFrame, groups: np.ndarray, shares: Sequence[float], seed: int = 0) -> np.ndarray:
    """Deal whole groups out to parts of given shares.

    Args:
        labels: one row per clip; `target` and `type` are balanced where they are there.
        groups: (N,) group numbers from 0.
        shares: the wanted share of each part, positive; they are scaled to sum to one.
        seed: decides between groups of one size.

    Returns:
        (N,) int64, each clip's part.

    Raises:
        UsageError: fewer groups than parts.
    """
    counts = stratum_counts(labels, groups)
    wanted_shares = np.asarray(shares, float) / np.sum(shares)
    if len(counts) < len(wanted_shares):
        raise UsageError(
            f"{len(counts)} group(s) of related clips cannot fill {len(wanted_shares)} parts; ask for fewer or relate less"
        )
    wanted = wanted_shares[:, None] * counts.sum(axis=0)
    filled = np.zeros_like(wanted)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    order = shuffled[np.argsort(-counts[shuffled, 0], kind="stable")]
    part_of_group = np.empty(len(counts), np.int64)
    for rank, group in enumerate(order):
        count = counts[group]
        # How much the squared distance from the wanted counts, each in units of its expectation, grows with this group.
        growth = ((2 * (filled - wanted) + count) * count / wanted).sum(axis=1)
        if len(order) - rank <= (filled[:, 0] == 0).sum():
            growth[filled[:, 0] > 0] = np.inf  # the last groups go to parts that would stay empty
        part = int(np.argmin(growth))
        filled[part] += count
        part_of_group[group] = part
    return part_of_group[groups]


def leave_one_out(labels: pd.DataFrame, groups: np.ndarray, column: str, seed: int = 0) -> np.ndarray:
    """One fold per value of `column` (leave-one-generator-out), named by it.

    A clip without a value (a real clip has no generator) joins the value that is most frequent in its group, so that a fake and
    its original are held out together; groups without any value are dealt out in proportion to the folds' sizes. A group may
    still hold several values and thus reach into several folds: `training_rows` then purges it from the training side.

    Returns:
        (N,) object, each clip's fold.

    Raises:
        UsageError: fewer than two values.
    """
    values = column_values(labels, column)
    names, sizes = np.unique(values[values != ""].astype(str), return_counts=True)
    if len(names) < 2:
        raise UsageError(f"leaving one {column} out needs at least two values; the labels have {len(names)}")
    known = pd.DataFrame({"group": groups, "value": values})[values != ""]
    usual = known.groupby("group")["value"].agg(lambda found: found.mode().iloc[0])
    inherited = pd.Series(groups).map(usual)
    fold = np.where(values == "", inherited.fillna("").to_numpy(object), values).astype(object)
    free = np.flatnonzero(fold == "")
    if len(free):
        free_groups = pd.factorize(groups[free])[0]
        n_parts = min(len(names), int(free_groups.max()) + 1)
        largest = np.sort(np.argsort(-sizes, kind="stable")[:n_parts])
        parts = assign_groups(labels.iloc[free], free_groups, sizes[largest].tolist(), seed)
        fold[free] = names[largest][parts]
    return fold


def hold_out(
    labels: pd.DataFrame, groups: np.ndarray, column: str, value: str, shares: Sequence[float], seed: int = 0
) -> np.ndarray:
    """Test on every group that has a clip with `value` in `column` (a generator, a cluster); the rest is dealt out.

    Returns:
        (N,) int64: the last part, `len(shares)`, is the held-out one.

    Raises:
        UsageError: nobody, or everybody, is held out.
    """
    held_groups = np.unique(groups[column_values(labels, column) == value])
    held = np.isin(groups, held_groups)
    if not held.any():
        raise UsageError(f"no clip has {value!r} in the column {column!r}")
    if held.all():
        raise UsageError(f"every clip is related to one with {column}={value}: nothing is left to train on")
    part = np.full(len(labels), len(shares), np.int64)
    part[~held] = assign_groups(labels[~held], pd.factorize(groups[~held])[0], shares, seed)
    return part


def training_rows(fold: np.ndarray, groups: np.ndarray, held: object) -> np.ndarray:
    """Rows to train on when the fold `held` is tested, (N,) bool: the other folds less every group that is in `held` too."""
    tested = fold == held
    return ~tested & ~np.isin(groups, groups[tested])


@dataclass(frozen=True)
class GroupFacts:
    """How a table falls into groups, for the user's eyes.

    Attributes:
        n_clips: rows.
        n_groups: groups.
        n_alone: clips that are related to none.
        largest: clips of the largest group.
    """

    n_clips: int
    n_groups: int
    n_alone: int
    largest: int

    @classmethod
    def of(cls, groups: np.ndarray) -> GroupFacts:
        """Count (N,) group numbers."""
        sizes = np.bincount(groups)
        return cls(len(groups), int((sizes > 0).sum()), int((sizes == 1).sum()), int(sizes.max()))

    def sentence(self) -> str:
        """Format the counts in one line, with a warning if one group holds most clips."""
        text = f"{self.n_clips} clips in {self.n_groups} groups; {self.n_alone} are alone, the largest group has {self.largest}"
        if self.n_clips > 1 and self.largest > LARGE_GROUP_SHARE * self.n_clips:
            text += f"; warning: {self.largest / self.n_clips:.0%} of the clips are related and cannot be divided"
        return text
