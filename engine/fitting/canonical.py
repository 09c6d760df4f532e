"""Canonical correlation analysis (Hotelling, 1936): directions along which two feature sets correlate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGE = 0.1
"""Ridge as a share of the mean variance. It prevents whitening from amplifying directions of low variance."""

LEAST_SPREAD = 1e-9


@dataclass(frozen=True)
class CanonicalMaps:
    """Linear maps of both sides to a shared space of C directions.

    Attributes:
        left: (P, C).
        right: (Q, C).
        strength: (C,) regularised correlations of the pairs of directions, in descending order.
    """

    left: np.ndarray
    right: np.ndarray
    strength: np.ndarray


def principal_axes(rows: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` directions (D, count) of largest variance of centred rows (N, D)."""
    _, axes = np.linalg.eigh(rows.T @ rows / len(rows))
    return np.ascontiguousarray(axes[:, ::-1][:, :count])


def canonical_maps(left: np.ndarray, right: np.ndarray, *, components: int) -> CanonicalMaps:
    """Return the pairs of directions with the largest correlations.

    Args:
        left: (N, P) centred; columns are scaled to unit standard deviation first.
        right: (N, Q) centred.
        components: C.
    """
    spread = left.std(axis=0) + LEAST_SPREAD
    white_left, white_right = whitening(left / spread), whitening(right)
    correlation = (left / spread @ white_left).T @ (right @ white_right) / len(left)
    turn_left, strength, turn_right = np.linalg.svd(correlation)
    return CanonicalMaps(
        left=white_left @ turn_left[:, :components] / spread[:, None],
        right=white_right @ turn_right[:components].T,
        strength=strength[:components],
    )


def whitening(rows: np.ndarray) -> np.ndarray:
    """Return the map (D, D) to unit covariance for rows (N, D), with the ridge."""
    covariance = rows.T @ rows / len(rows)
    ridge = RIDGE * np.trace(covariance) / len(covariance) + LEAST_SPREAD
    axes, variance, _ = np.linalg.svd(covariance + ridge * np.eye(len(covariance)))
    return axes / np.sqrt(variance)
