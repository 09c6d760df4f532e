"""Splits and folds that keep related clips together, by connected components and greedy balanced assignment.

Two clips are related if they share a value in one of the given columns (identity, source, ...) or form a given pair, for
example of near-duplicates. Groups are the connected components of this relation. They are assigned to parts from largest to
smallest. Each group goes to the part where it reduces the deviation from the target counts most, over all strata (all clips,
each target, each type). This is the greedy rule of stratified group k-fold, generalised to unequal shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from utils.errors import UsageError

RECORDING_COLUMNS = ("pair", "content_group")
"""Label columns whose equal values mark clips of the same recording or sentence. Such clips belong in the same fold."""

LARGE_GROUP_SHARE = 0.5
"""If the largest group has more than this share of all clips, splits cannot be balanced, and a warning is shown."""


def related_groups(
    labels: pd.DataFrame, columns: Sequence[str] = (), pairs: Iterable[tuple[int, int]] = ()
) -> np.ndarray:
    """Return the connected components of clips that share a value or form a pair.

    Args:
        labels: one row per clip; clips with empty cells are not related by them.
        columns: columns whose values relate clips; values of different columns are not compared.
        pairs: pairs of related rows.

    Returns:
        (N,) int64, numbered from 0 in the order of each group's first row.

    Raises:
        UsageError: the table lacks a column.
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
    """Return a column as stripped text, (N,) object; empty for missing values.

    Raises:
        UsageError: the table lacks the column.
    """
    if column not in labels:
        raise UsageError(f"the labels have no column {column!r}; available columns: {', '.join(labels.columns)}")
    values = labels[column]
    return values.astype(object).where(values.notna(), "").astype(str).str.strip().to_numpy(object)


def check_recordings(labels: pd.DataFrame, folds: np.ndarray, where: object) -> None:
    """Check that no recording is divided between folds.

    Args:
        labels: one row per clip.
        folds: (N,) the fold of each clip.
        where: the label file, for the message.

    Raises:
        UsageError: clips with the same value in one of `RECORDING_COLUMNS` are in different folds.
    """
    for column in RECORDING_COLUMNS:
        if column not in labels:
            continue
        values = pd.Series(column_values(labels, column))
        n_folds = pd.Series(folds).groupby(values).nunique()
        divided = n_folds.index[(n_folds > 1) & (n_folds.index != "")]
        if len(divided):
            raise UsageError(
                f"{where}: the clips with {column}={divided[0]} are in {n_folds[divided[0]]} folds ({len(divided)} such "
                f"values); clips of one recording belong in one fold: utils/make_splits.py --by {column} makes such folds"
            )


def stratum_counts(labels: pd.DataFrame, groups: np.ndarray) -> np.ndarray:
    """Count clips per group and stratum, (G, strata) float64. Strata: all clips, each target, each type."""
    indicators = [np.ones((len(labels), 1))]
    for column in ("target", "type"):
        if column in labels:
            values = column_values(labels, column)
            indicators.append(pd.get_dummies(values).to_numpy(float))
    counts = np.zeros((int(groups.max()) + 1, sum(part.shape[1] for part in indicators)))
    np.add.at(counts, groups, np.concatenate(indicators, axis=1))
    return counts


def assign_groups(labels: pd.DataFrame, groups: np.ndarray, shares: Sequence[float], seed: int = 0) -> np.ndarray:
    """Assign whole groups to parts with the given shares.

    Args:
        labels: one row per clip; `target` and `type` are balanced if present.
        groups: (N,) group numbers from 0.
        shares: positive target share of each part; normalised to sum to one.
        seed: determines the order of equally large groups.

    Returns:
        (N,) int64, the part of each clip.

    Raises:
        UsageError: there are fewer groups than parts.
    """
    counts = stratum_counts(labels, groups)
    wanted_shares = np.asarray(shares, float) / np.sum(shares)
    if len(counts) < len(wanted_shares):
        raise UsageError(
            f"{len(counts)} group(s) of related clips cannot fill {len(wanted_shares)} parts; request fewer parts"
        )
    wanted = wanted_shares[:, None] * counts.sum(axis=0)
    filled = np.zeros_like(wanted)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    order = shuffled[np.argsort(-counts[shuffled, 0], kind="stable")]
    part_of_group = np.empty(len(counts), np.int64)
    for rank, group in enumerate(order):
        count = counts[group]
        # Increase of the squared deviation from the target counts, relative to each expected count.
        growth = ((2 * (filled - wanted) + count) * count / wanted).sum(axis=1)
        if len(order) - rank <= (filled[:, 0] == 0).sum():
            growth[filled[:, 0] > 0] = np.inf  # reserve the last groups for parts that are still empty
        part = int(np.argmin(growth))
        filled[part] += count
        part_of_group[group] = part
    return part_of_group[groups]


def leave_one_out(labels: pd.DataFrame, groups: np.ndarray, column: str, seed: int = 0) -> np.ndarray:
    """Assign one fold per value of `column`, named by the value (for example, leave one generator out).

    Clips without a value (real clips have no generator) get the most frequent value of their group, so a fake and its original
    are held out together. Groups without any value are distributed in proportion to the fold sizes. A group with several values
    spans several folds; `training_rows` then removes it from the training side.

    Returns:
        (N,) object, the fold of each clip.

    Raises:
        UsageError: the column has fewer than two values.
    """
    values = column_values(labels, column)
    names, sizes = np.unique(values[values != ""].astype(str), return_counts=True)
    if len(names) < 2:
        raise UsageError(f"leave-one-out by {column} needs at least two values; the labels have {len(names)}")
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
    """Hold out all groups that contain `value` in `column` (a generator, a cluster) and divide the rest by `shares`.

    Returns:
        (N,) int64, the part of each clip; `len(shares)` is the held-out part.

    Raises:
        UsageError: no clips, or all clips, are held out.
    """
    held_groups = np.unique(groups[column_values(labels, column) == value])
    held = np.isin(groups, held_groups)
    if not held.any():
        raise UsageError(f"no clip has {value!r} in the column {column!r}")
    if held.all():
        raise UsageError(f"every clip is related to one with {column}={value}, so no clip is left to train on")
    part = np.full(len(labels), len(shares), np.int64)
    part[~held] = assign_groups(labels[~held], pd.factorize(groups[~held])[0], shares, seed)
    return part


def training_rows(fold: np.ndarray, groups: np.ndarray, held: object) -> np.ndarray:
    """Return a mask (N,) bool of the training rows for the test fold `held`, without groups that also occur in `held`."""
    tested = fold == held
    return ~tested & ~np.isin(groups, groups[tested])


@dataclass(frozen=True)
class GroupFacts:
    """Group statistics of a label table, for display.

    Attributes:
        n_clips: number of clips.
        n_groups: number of groups.
        n_alone: number of clips without related clips.
        largest: size of the largest group.
    """

    n_clips: int
    n_groups: int
    n_alone: int
    largest: int

    @classmethod
    def of(cls, groups: np.ndarray) -> GroupFacts:
        """Compute the statistics of (N,) group numbers."""
        sizes = np.bincount(groups)
        return cls(len(groups), int((sizes > 0).sum()), int((sizes == 1).sum()), int(sizes.max()))

    def sentence(self) -> str:
        """Return the counts in one line, with a warning if one group contains most clips."""
        text = (
            f"{self.n_clips} clips in {self.n_groups} groups; {self.n_alone} unrelated, largest group: {self.largest}"
        )
        if self.n_clips > 1 and self.largest > LARGE_GROUP_SHARE * self.n_clips:
            text += f"; warning: {self.largest / self.n_clips:.0%} of the clips are related and cannot be divided"
        return text
