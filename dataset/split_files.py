"""Published splits: a CSV with each clip's group and part, its hash beside it, and a table that shows how even they are."""

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
    """Write the label table with its groups and parts, and `<output>.sha256` beside it.

    A split is also written as one label file per part (`<stem>.train.csv`), ready for `label_name`. A column of the label file
    that is called like one of ours is replaced: a file written here can be divided anew.

    Args:
        output: the CSV.
        labels: one row per clip.
        groups: (N,) group numbers from 0, written as `g000001`.
        column: `fold` or `split`.
        parts: (N,) each clip's part.

    Returns:
        The SHA-256 of the CSV: equal for equal labels, settings and seed.
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
    """Write a CSV with the same bytes on every system, atomically."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def balance_table(labels: pd.DataFrame, groups: np.ndarray, column: str, parts: np.ndarray) -> str:
    """Clips, reals, fakes, groups and types of each part as aligned text.

    For folds a last column counts the clips that are purged when the fold is tested: they are in other folds, but belong to a
    group of the tested one (only leave-one-out has any).
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
    """Return the distinct parts in order: train, val, test, then others ascending."""
    found = sorted(set(parts.tolist()))
    return sorted(found, key=lambda part: SPLIT_NAMES.index(part) if part in SPLIT_NAMES else len(SPLIT_NAMES))


def read_folds(path: str | Path, column: str = "fold") -> pd.DataFrame:
    """Read a published fold file: its fold (text) and group columns, indexed by `video_name`.

    Raises:
        UsageError: absent, without the fold column, with an empty fold, or altered since its hash was written beside it.
    """
    path = existing_file(path, "fold file")
    table = read_table(path)
    if column not in table:
        raise UsageError(f"{path} has no column {column!r}; there are {', '.join(table.columns)}")
    empty = table[column].str.strip() == ""
    if empty.any():
        raise UsageError(f"{path}: {table.loc[empty, 'video_name'].iloc[0]!r} has no {column}")
    published = path.with_name(f"{path.name}.sha256")
    if published.is_file() and published.read_text(encoding="utf-8").split()[:1] != [file_sha256(path)]:
        raise UsageError(f"{path} is not the file that {published.name} was written for; its hash differs")
    return table.set_index("video_name")
