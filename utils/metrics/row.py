"""A split's figures as one row of a table that compares systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def summary_row(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What `summarise` gives, flat; a figure that there is not is `None`.

    Returns:
        `n`, `coverage`; `auc` with limits over clips (`_low`, `_high`) and over groups (`auc_group_low`, `_high`);
        `same_source` with limits over sources, of `n_sources` that hold both classes; `macro`, the mean over the fakes' types,
        and `type_<name>` for each of them against all real clips.
    """
    auc, by_group, within = metrics["auc"], metrics["auc_by_group"], metrics["same_source"]
    row = {
        "n": metrics["n"],
        "coverage": metrics["coverage"],
        "auc": auc["value"],
        "auc_low": auc["low"],
        "auc_high": auc["high"],
        "auc_group_low": by_group["low"],
        "auc_group_high": by_group["high"],
        "same_source": within["value"],
        "same_source_low": within["low"],
        "same_source_high": within["high"],
        "n_sources": within["sources"],
        "macro": metrics["macro_auc"],
    }
    return row | {f"type_{kind}": cells["auc"] for kind, cells in metrics["per_type"].items()}
