"""Reading and joining of predictions and label files, from this project or another system."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from utils.errors import UsageError
from utils.metrics.clips import read_numbers, read_targets

NAME = "video_name"
# Accepted aliases: `video` occurs in scores.csv, `y_pred` in the challenge's submission format.
ALIASES = {"video": NAME, "y_pred": "score"}
NUMBERS = ("score", "logit")
# Columns taken from the predictions file. All others are labels, for which a label file takes precedence.
PREDICTED = (*NUMBERS, "status", "reason", "verdict", "threshold", "real_threshold")
GROUPINGS = ("type", "modality", "source", "group")
"""Label columns that metrics are broken down or resampled by."""


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a predictions file.

    Args:
        path: CSV with ``video_name`` (or ``video``), ``score`` (or ``y_pred``) and/or ``logit``, and any label columns.
            An empty score marks an unscored clip.

    Returns:
        One row per clip; ``score`` and ``logit`` as numbers (NaN if empty), all other columns as text.

    Raises:
        UsageError: The file is not such a table, names a clip twice, or contains a score that is not a finite number.
    """
    table = read_table(path)
    present = [column for column in NUMBERS if column in table]
    if not present:
        raise UsageError(f"{path} has no score, y_pred or logit column; its columns are {', '.join(table.columns)}")
    try:
        for column in present:
            table[column] = read_numbers(table, column)
        read_targets(table)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return table


def read_labels(path: Path) -> pd.DataFrame:
    """Read a label file with ``video_name``, usually ``target``, and any further columns, all as text.

    Raises:
        UsageError: The file is not such a table, names a clip twice, or contains a target other than 0, 1 or a placeholder.
    """
    table = read_table(path)
    try:
        read_targets(table)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return table


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file with a header and one row per clip, every cell as text.

    Raises:
        UsageError: The file cannot be read as such a table.
    """
    rows = _csv_rows(path)
    if not rows:
        raise UsageError(f"{path} is empty")
    header = [ALIASES.get(cell.strip(), cell.strip()) for cell in rows[0][1]]
    repeated = _first_repeated(header)
    if repeated is not None:
        raise UsageError(f"{path} has more than one {repeated} column")
    if NAME not in header:
        raise UsageError(f"{path} has no {NAME} column; its columns are {', '.join(header)}")
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise UsageError(f"{path} line {line} has {len(row)} cells, but the header has {len(header)}")
    table = pd.DataFrame([[cell.strip() for cell in row] for _, row in rows[1:]], columns=header, dtype=object)
    if table.empty:
        raise UsageError(f"{path} has a header but no rows")
    if (table[NAME] == "").any():
        raise UsageError(f"{path} has a row without a {NAME}")
    repeated = _first_repeated(table[NAME])
    if repeated is not None:
        raise UsageError(f"{path} names {repeated} more than once")
    return table


def join_labels(predictions: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Join labels and predictions by clip name.

    Returns:
        The rows of ``labels``, in order, with its columns and those that only the predictions have. A clip without a
        prediction has no score, status ``missing`` and reason ``not_in_predictions``.

    Raises:
        UsageError: A predicted clip is not in the labels, or both give a clip different targets.
    """
    unknown = predictions.loc[~predictions[NAME].isin(labels[NAME]), NAME]
    if len(unknown):
        raise UsageError(f"a predicted clip is not in the labels: {unknown.iloc[0]} ({len(unknown)} in all)")
    from_labels = labels.drop(columns=[column for column in PREDICTED if column in labels])
    joined = from_labels.merge(predictions, how="left", on=NAME, suffixes=("", "_predicted"), indicator="_found")
    if "target_predicted" in joined:
        _refuse_contradiction(joined, "target", "target_predicted", "the labels and the predictions")
    missing = (joined["_found"] == "left_only").to_numpy()
    for column, code in (("status", "missing"), ("reason", "not_in_predictions")):
        given = joined[column].fillna("") if column in joined else ""
        joined[column] = np.where(missing, code, given)
    surplus = [column for column in joined.columns if column.endswith("_predicted") and column not in labels]
    return joined.drop(columns=["_found", *surplus])


def lend_labels(borrower: pd.DataFrame, lender: pd.DataFrame) -> pd.DataFrame:
    """Fill in label columns that a predictions table lacks from another table of the same clips.

    A table without targets borrows them together with all other label columns. A table with targets borrows only the
    grouping columns that it lacks (``GROUPINGS``).

    Returns:
        ``borrower`` itself if there is nothing to borrow. Clips that the lender does not name get no labels.
    """
    if read_targets(borrower)[1] and not read_targets(lender)[1]:
        lent = lender.drop(columns=[column for column in PREDICTED if column in lender])
        own = borrower.drop(columns=[column for column in lent if column in borrower and column != NAME])
        return own.merge(lent, how="left", on=NAME)
    missing = [column for column in GROUPINGS if column in lender and column not in borrower]
    if not missing:
        return borrower
    merged = borrower.merge(lender[[NAME, *missing]], how="left", on=NAME)
    return merged.fillna(dict.fromkeys(missing, ""))


def pair(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Match the clips that two predictions tables share.

    Returns:
        The rows of ``first`` that ``second`` also has. Columns ``a`` and ``b`` contain each clip's row number in ``first``
        and in ``second``.

    Raises:
        UsageError: The tables give a clip different targets.
    """
    left = first.reset_index(drop=True).assign(a=np.arange(len(first)))
    right = second[[NAME]].reset_index(drop=True).assign(b=np.arange(len(second)))
    if "target" in second:
        right["target_b"] = second["target"].to_numpy()
    shared = left.merge(right, on=NAME)
    if "target" in first and "target" in second:
        _refuse_contradiction(shared, "target", "target_b", "the two files")
    return shared


def _csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the line number and the cells of each non-blank line of a CSV file."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            return [(reader.line_num, row) for row in reader if any(row)]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise UsageError(f"{path} is not a CSV file in UTF-8") from None


def _refuse_contradiction(table: pd.DataFrame, column: str, other: str, where: str) -> None:
    one, _ = read_targets(table[[NAME, column]].rename(columns={column: "target"}))
    two, _ = read_targets(table[[NAME, other]].rename(columns={other: "target"}))
    differ = ~np.isnan(one) & ~np.isnan(two) & (one != two)
    if differ.any():
        name = table[NAME].to_numpy()[differ][0]
        raise UsageError(f"{where} disagree on the target of {name} ({int(differ.sum())} in all)")


def _first_repeated(names: pd.Series | list[str]) -> str | None:
    repeated = pd.Series(names)[pd.Series(names).duplicated()]
    return None if repeated.empty else str(repeated.iloc[0])
