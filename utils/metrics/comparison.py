"""Comparison of two systems on the clips that both scored."""

from __future__ import annotations

from typing import Any

import pandas as pd

from utils.metrics.clips import evaluated_clips
from utils.metrics.delong import delong_test
from utils.metrics.predictions import pair


def compare(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    """DeLong's test of the difference between the AUCs of two predictions tables.

    Args:
        first: Predictions with targets, as ``read_predictions``, ``join_labels`` or ``lend_labels`` gives them.
        second: The other system's.

    Returns:
        ``delta`` (AUC of the first minus that of the second), ``low``, ``high``, ``p``, ``auc_a``, ``auc_b``, ``n``
        (clips that both scored), ``n_one_only`` (labelled clips that only one scored) and ``reason``, why a figure is
        ``None``.

    Raises:
        UsageError: The tables give a clip different targets, or hold a value outside its range.
    """
    a, b = evaluated_clips(first, None), evaluated_clips(second, None)
    shared = pair(a.table, b.table)
    rows_a, rows_b = shared["a"].to_numpy(), shared["b"].to_numpy()
    both = a.scored[rows_a] & b.scored[rows_b]
    rows_a, rows_b = rows_a[both], rows_b[both]
    test = delong_test(a.is_fake[rows_a], a.ranking[rows_a], b.ranking[rows_b])
    figures = test._asdict() | {"n_one_only": int(a.scored.sum() + b.scored.sum()) - 2 * int(both.sum())}
    without_targets = a.no_targets or b.no_targets
    if without_targets:
        figures |= dict.fromkeys(("auc_a", "auc_b", "delta", "low", "high", "p"), None) | {"reason": without_targets}
    return figures
