"""A forest of decision trees as plain tensors: no pickle, no particular scikit-learn, the same scores on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesClassifier

UNFITTED_DEPTH = 4
LEAF = -1


class PackedForest(nn.Module):
    """Trees in depth-first order, so that a left child follows its parent.

    Attributes:
        first: (trees,) int32, each tree's root among the nodes.
        column: (nodes,) int8, the feature that a node compares; -1 marks a leaf.
        value: (nodes,) float32, the threshold of a comparison (left when not above it), or a leaf's share of fakes.
        skip: (nodes,) int16, from a node to its right child.
    """

    first: Tensor
    column: Tensor
    value: Tensor
    skip: Tensor

    def __init__(self, trees: int, size: int) -> None:
        """Begin with random trees over features (N, `size`)."""
        super().__init__()
        skips = depth_first_skips(UNFITTED_DEPTH)
        skip = torch.tensor(skips, dtype=torch.int16).repeat(trees)
        leaf = skip == 0
        column = torch.randint(0, size, (len(skips) * trees,), dtype=torch.int8)
        value = torch.where(leaf, torch.rand(len(leaf)), torch.randn(len(leaf)))
        self.register_buffer("first", torch.arange(trees, dtype=torch.int32) * len(skips))
        self.register_buffer("column", torch.where(leaf, torch.full_like(column, LEAF), column))
        self.register_buffer("value", value)
        self.register_buffer("skip", skip)

    def forward(self, features: Tensor) -> Tensor:
        """Mean share of fakes (N,) float64 over the leaves that features (N, D) float32 fall into."""
        column, skip = self.column.long(), self.skip.long()
        node = self.first.long().expand(len(features), -1)
        while True:
            compared = column[node]
            inner = compared != LEAF
            if not inner.any():
                return self.value[node].double().mean(dim=1)
            left = features.gather(1, compared.clamp(min=0)) <= self.value[node]
            step = torch.where(left, 1, skip[node])
            node = node + torch.where(inner, step, 0)

    def load_trees(self, forest: ExtraTreesClassifier) -> None:
        """Take over a fitted scikit-learn forest of two classes, fake the second.

        Raises:
            ValueError: a tree is not in depth-first order, or too large to be packed.
        """
        trees = [estimator.tree_ for estimator in forest.estimators_]
        packed = [pack_tree(tree) for tree in trees]
        counts = [tree.node_count for tree in trees]
        self.first = torch.from_numpy(np.cumsum([0, *counts[:-1]]).astype(np.int32))
        self.column, self.value, self.skip = (
            torch.from_numpy(np.concatenate(part)) for part in zip(*packed, strict=True)
        )

    def _load_from_state_dict(self, state_dict, prefix, *arguments, **keywords) -> None:  # type: ignore[no-untyped-def]
        # Fitted trees have any number of nodes: make room before torch compares the shapes.
        for name, buffer in list(self._buffers.items()):
            stored = state_dict.get(prefix + name)
            if isinstance(stored, Tensor) and stored.dim() == 1 and buffer is not None:
                self._buffers[name] = torch.empty_like(stored, dtype=buffer.dtype, device=buffer.device)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **keywords)


def depth_first_skips(depth: int) -> list[int]:
    """The steps to the right children of a complete tree in depth-first order; 0 at its leaves."""
    if depth == 0:
        return [0]
    below = depth_first_skips(depth - 1)
    return [1 + len(below), *below, *below]


def pack_tree(tree) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    """`column`, `value` and `skip` of a scikit-learn tree, see `PackedForest`."""
    number = np.arange(tree.node_count)
    leaf = tree.children_left < 0
    skip = np.where(leaf, 0, tree.children_right - number)
    if (tree.children_left[~leaf] != number[~leaf] + 1).any() or skip.max() > np.iinfo(np.int16).max:
        raise ValueError("the tree is too large, or its nodes are not in depth-first order")
    # scikit-learn compares float32 features with float64 thresholds: rounding these down keeps every comparison.
    threshold = tree.threshold.astype(np.float32)
    threshold = np.where(threshold > tree.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    shares = tree.value[:, 0, 1] / tree.value[:, 0, :].sum(axis=1)
    value = np.where(leaf, shares, threshold).astype(np.float32)
    return np.where(leaf, LEAF, tree.feature).astype(np.int8), value, skip.astype(np.int16)
