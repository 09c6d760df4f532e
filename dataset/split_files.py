"""Split files: a CSV with the group and part of each clip, a hash file, and a table that shows the balance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dataset.folds import column_values, training_rows
from dataset.labels import read_table
from utils.errors import UsageError
from utils.files import atomic_path, existing_file, file_sha256, write_text_atomic

PART_COLUMNS = ("fold", "split")
SPLIT_NAMES = ("train", "val", "test")


def write_splits(output: Path, labels: pd.DataFrame, groups: np.ndarray, column: str, parts: np.ndarray) -> str:
    """Write the label table with its groups and parts, and its hash to `<output>.sha256`.

    For a split, also write one label file per part (`<stem>.train.csv`) for use as `label_name`. Existing columns of the same
    names are replaced, so the output can be divided again.

    Args:
        output: path of the CSV.
        labels: one row per clip.
        groups: (N,) group numbers from 0, written as `g000001`.
        column: `fold` or `split`.
        parts: (N,) part of each clip.

    Returns:
        The SHA-256 of the CSV. The same labels, settings and seed give the same hash.
    """
    width = max(6, len(str(len(labels))))
    names = np.char.add("g", np.char.zfill((groups + 1).astype(str), width))
    kept = labels.drop(columns=[name for name in (*PART_COLUMNS, "group") if name in labels])
    table = kept.assign(**{column: parts, "group": names})
    table["target"] = table["target"].map(lambda target: "" if pd.isna(target) else f"{target:g}")
    write_table(output, table)
    digest = file_sha256(output)
    write_text_atomic(output.with_name(f"{output.name}.sha256"), f"{digest}  {output.name}\n")
    if column == "split":
        for part in dict.fromkeys(parts):
            write_table(output.with_name(f"{output.stem}.{part}.csv"), table[table[column] == part])
    return digest


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV atomically, with identical bytes on all platforms."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def balance_table(labels: pd.DataFrame, groups: np.ndarray, column: str, parts: np.ndarray) -> str:
    """Return the numbers of clips, reals, fakes, groups and types of each part as aligned text.

    For folds, the last column counts the clips that are excluded from training when this fold is tested, because their group
    also occurs in it. Only the folds of `--leave_out` have such clips.
    """
    rows = []
    for part in in_order(parts):
        mine = parts == part
        target = labels["target"].to_numpy(float)[mine]
        row = {
            column: part,
            "clips": int(mine.sum()),
            "real": int((target == 0).sum()),
            "fake": int((target == 1).sum()),
            "groups": len(np.unique(groups[mine])),
        }
        if "type" in labels:
            row["types"] = len(set(column_values(labels, "type")[mine]) - {"", "real"})
        if column == "fold":
            row["purged"] = int((~mine & ~training_rows(parts, groups, part)).sum())
        rows.append(row)
    return pd.DataFrame(rows).to_string(index=False)


def in_order(parts: np.ndarray) -> list:
    """Return the distinct parts: train, val, test, then others in ascending order."""
    found = sorted(set(parts.tolist()))
    return sorted(found, key=lambda part: SPLIT_NAMES.index(part) if part in SPLIT_NAMES else len(SPLIT_NAMES))


def read_folds(path: str | Path, column: str = "fold") -> pd.DataFrame:
    """Read a fold file, indexed by `video_name`, with fold (text) and group columns.

    Raises:
        UsageError: the file is missing, lacks the fold column, has an empty fold, or does not match its hash file.
    """
    path = existing_file(path, "fold file")
    table = read_table(path)
    if column not in table:
        raise UsageError(f"{path} has no column {column!r}; available columns: {', '.join(table.columns)}")
    empty = table[column].str.strip() == ""
    if empty.any():
        raise UsageError(f"{path}: {table.loc[empty, 'video_name'].iloc[0]!r} has no {column}")
    published = path.with_name(f"{path.name}.sha256")
    if published.is_file() and published.read_text(encoding="utf-8").split()[:1] != [file_sha256(path)]:
        raise UsageError(f"{path} does not match its hash in {published.name}; the file was changed")
    return table.set_index("video_name")
