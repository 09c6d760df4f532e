"""Canonical correlation analysis (Hotelling, 1936): directions in which two descriptions of the same moments agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGE = 0.1
"""Share of the mean variance that is added to every direction: scarce ones are not blown up."""

LEAST_SPREAD = 1e-9


@dataclass(frozen=True)
class CanonicalMaps:
    """Linear maps of both sides into a shared space of C directions.

    Attributes:
        left: (P, C).
        right: (Q, C).
        strength: (C,) correlations of the pairs, as the ridge leaves them, the largest first.
    """

    left: np.ndarray
    right: np.ndarray
    strength: np.ndarray


def principal_axes(rows: np.ndarray, count: int) -> np.ndarray:
    """The `count` directions (D, count) in which centred rows (N, D) vary most."""
    _, axes = np.linalg.eigh(rows.T @ rows / len(rows))
    return np.ascontiguousarray(axes[:, ::-1][:, :count])


def canonical_maps(left: np.ndarray, right: np.ndarray, *, components: int) -> CanonicalMaps:
    """The pairs of directions that agree most.

    Args:
        left: (N, P) centred; columns are brought to unit spread first.
        right: (N, Q) centred.
        components: C.
    """
    spread = left.std(axis=0) + LEAST_SPREAD
    white_left, white_right = whitening(left / spread), whitening(right)
    agreement = (left / spread @ white_left).T @ (right @ white_right) / len(left)
    turn_left, strength, turn_right = np.linalg.svd(agreement)
    return CanonicalMaps(
        left=white_left @ turn_left[:, :components] / spread[:, None],
        right=white_right @ turn_right[:components].T,
        strength=strength[:components],
    )


def whitening(rows: np.ndarray) -> np.ndarray:
    """The map (D, D) after which rows (N, D) have unit covariance, less what the ridge takes."""
    covariance = rows.T @ rows / len(rows)
    ridge = RIDGE * np.trace(covariance) / len(covariance) + LEAST_SPREAD
    axes, variance, _ = np.linalg.svd(covariance + ridge * np.eye(len(covariance)))
    return axes / np.sqrt(variance)
