"""A forest of decision trees as plain tensors, which load without pickle or scikit-learn.

Scores are the same on all machines.
"""

from __future__ import annotations

from itertools import count

import torch
from torch import Tensor, nn

UNFITTED_DEPTH = 4
LEAF = -1


class PackedForest(nn.Module):
    """Trees whose nodes are stored in depth-first order: a left child follows its parent.

    Attributes:
        first: (trees,) int32, index of each tree's root among the nodes.
        column: (nodes,) int8, the index of the feature that a node tests; -1 marks a leaf.
        value: (nodes,) float32, threshold of a test (go left if feature <= threshold), or share of fakes in a leaf.
        skip: (nodes,) int16, the offset from a node to its right child.
    """

    first: Tensor
    column: Tensor
    value: Tensor
    skip: Tensor

    def __init__(self, trees: int, size: int) -> None:
        """Start with random trees over features (N, `size`)."""
        super().__init__()
        self._steps: int | None = None
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
        """Return the mean share of fakes (N,) float64 over the leaves that features (N, D) float32 reach."""
        column, skip = self.column.long(), self.skip.long()
        node = self.first.long().expand(len(features), -1)
        for step in count():
            compared = column[node]
            inner = compared != LEAF
            if step == self._steps or (self._steps is None and not inner.any()):
                break
            left = features.gather(1, compared.clamp(min=0)) <= self.value[node]
            node = node + torch.where(inner, torch.where(left, 1, skip[node]), 0)
        return self.value[node].double().mean(dim=1)

    def prepare_export(self) -> None:
        """Fix the number of steps, because an exported graph cannot test whether all rows have reached their leaves."""
        self._steps = self.depth()

    def depth(self) -> int:
        """Return the largest number of tests from a root to a leaf."""
        depth, level = 0, self.first.long()
        while len(level := level[self.column[level] != LEAF]):
            depth, level = depth + 1, torch.cat([level + 1, level + self.skip[level]])
        return depth

    def _load_from_state_dict(self, state_dict, prefix, *arguments, **keywords) -> None:  # type: ignore[no-untyped-def]
        # The number of nodes depends on the fit, so resize before torch compares the shapes.
        for name, buffer in list(self._buffers.items()):
            stored = state_dict.get(prefix + name)
            if isinstance(stored, Tensor) and stored.dim() == 1 and buffer is not None:
                self._buffers[name] = torch.empty_like(stored, dtype=buffer.dtype, device=buffer.device)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **keywords)


def depth_first_skips(depth: int) -> list[int]:
    """Return the distances to the right children of a complete tree in depth-first order; 0 at its leaves."""
    if depth == 0:
        return [0]
    below = depth_first_skips(depth - 1)
    return [1 + len(below), *below, *below]
