"""Label files: `video_name,target` with a header, 1 = fake and 0 = real; other columns are kept."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from utils.config import shorten
from utils.errors import UsageError
from utils.files import existing_file, unsafe_name

log = logging.getLogger(__name__)

SUSPICIOUS_NAME = r"^[\s./]*$|^/|\\|^[A-Za-z]:|\.\.|\x00"
"""Matches every name that `unsafe_name` can reject."""

SUSPICIOUS_PARTS = ("\\", ":", "..", "\0", "\n/", "\n.", "\n\n")
"""Parts of the text of all lines, one of which occurs if any name is suspicious. A search is 20 times faster than by row."""

REPEATABLE_PARTS = ("./", "//", "/.", "/\n")
"""Parts of the text of all lines, one of which occurs if two spellings can name the same file."""

MAX_COLUMNS = 4096
"""Most columns of a label file."""

MAX_HEADER_BYTES = 1 << 20

TWIN_SUFFIX = {".txt": ".csv", ".csv": ".txt"}


def label_path(root: Path, name: str) -> Path:
    """Return the label file `name` below `root`, or `x.txt` instead of `x.csv` (and vice versa) if only that exists."""
    path = Path(root) / name
    twin = twin_of(path)
    return twin if twin.is_file() and not path.is_file() else path


def twin_of(path: Path) -> Path:
    """Return the path of `x.txt` for `x.csv` and vice versa; other paths are returned as they are."""
    return path.with_suffix(TWIN_SUFFIX.get(path.suffix, path.suffix))


def read_labels(path: Path, *, need_targets: bool = False) -> pd.DataFrame:
    """Read and check a label file.

    Args:
        path: a comma-separated .txt or .csv file whose header has at least `video_name`, or `name` instead.
        need_targets: require a target of 0 or 1 in every row, as training and selection do.

    Returns:
        One row per clip in file order: `video_name` (str), `target` (float, NaN where missing), then all other columns as
        text. A column `kind` is copied to `type` if there is none. If all targets are the same value other than 0 or 1
        (such as -1), they are read as NaN, with a warning.

    Raises:
        UsageError: the file is missing or empty, or has no header; a name is duplicated or points outside the data root; a
            target is neither 0 nor 1, or is required and missing.
    """
    path = existing_file(path, "label file")
    table = read_table(path)
    # Lists of text are stripped several times as fast as columns.
    table["video_name"] = pd.Series([name.strip() for name in table["video_name"].tolist()], dtype=str)
    check_names(table["video_name"], path)
    table["target"] = parse_targets(table, path)
    if need_targets and table["target"].isna().any():
        name = table.loc[table["target"].isna(), "video_name"].iloc[0]
        raise UsageError(f"{path}: training needs a target of 0 or 1 in every row; {name!r} has none")
    others = [column for column in table.columns if column not in ("video_name", "target")]
    return table[["video_name", "target", *others]]


def read_evaluation_labels(path: Path, limit: int | None = None) -> pd.DataFrame:
    """Read the labels of an evaluation, optionally a sample of them.

    Args:
        path: the label file.
        limit: number of rows to draw, half of each class if possible. The draw is repeatable.

    Raises:
        UsageError: a row has no target, only one class is present, or the limit is below 2.
    """
    labels = read_labels(path)
    if labels["target"].isna().any():
        raise UsageError(f"{path}: an AUC needs a target of 0 or 1 in every row")
    if labels["target"].nunique() < 2:
        raise UsageError(f"{path}: an AUC needs real and fake clips, all {len(labels)} are of one class")
    if limit is None:
        return labels
    if limit < 2:
        raise UsageError(f"--limit {limit}: expected 2 or more, since an AUC needs a real and a fake clip")
    place = labels.sample(frac=1.0, random_state=0).groupby("target").cumcount()
    return labels.loc[place.sort_values(kind="stable").index[:limit]].sort_index().reset_index(drop=True)


def read_table(path: Path) -> pd.DataFrame:
    """Read a comma-separated file with a header, every cell as text.

    Raises:
        UsageError: the file is not text, is empty, has no rows, has rows longer than the header, or lacks the column
            `video_name`.
    """
    try:
        refuse_many_columns(path)
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise UsageError(
            f"{path}: the file is empty; expected a header `video_name,target` and a row per clip"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a comma-separated text file ({str(error).strip()})") from None
    table.columns = [str(column).strip() for column in table.columns]
    # The missing cells of short rows are empty.
    table = table.fillna("")
    if "name" in table and "video_name" not in table:
        table = table.rename(columns={"name": "video_name"})
    if "kind" in table and "type" not in table:
        table["type"] = table["kind"]
    if not table.columns.is_unique:
        raise UsageError(f"{path}: the header names a column twice: {','.join(table.columns)!r}")
    if "video_name" not in table.columns:
        raise UsageError(
            f"{path}: no header; the first line should be `video_name,target`, it is {','.join(table.columns)!r}"
        )
    if isinstance(table.index, pd.MultiIndex) or not isinstance(table.index, pd.RangeIndex):
        raise UsageError(f"{path}: rows have more cells than the header names")
    if table.empty:
        raise UsageError(f"{path}: a header but no clip")
    return table


def refuse_many_columns(path: Path) -> None:
    """Raise a `UsageError` if the first line has too many cells. Reading them takes a time that grows with their square."""
    with open(path, "rb") as stream:
        columns = stream.readline(MAX_HEADER_BYTES).count(b",") + 1
    if columns > MAX_COLUMNS:
        raise UsageError(f"{path}: the header names at least {columns} columns; the limit is {MAX_COLUMNS}")


def check_names(names: pd.Series, path: Path) -> None:
    """Check that names are unique and stay below the data root."""
    listed = names.tolist()
    text = "\n".join(["", *listed, ""])
    if any(part in text for part in SUSPICIOUS_PARTS):
        refuse_unsafe_names(names, path)
    files = [str(PurePosixPath(name)) for name in listed] if any(part in text for part in REPEATABLE_PARTS) else listed
    if len(set(files)) < len(files):
        duplicated = names[pd.Series(files, index=names.index).duplicated()]
        raise UsageError(f"{path}: {len(duplicated)} duplicate name(s), the first is {duplicated.iloc[0]!r}")


def refuse_unsafe_names(names: pd.Series, path: Path) -> None:
    """Raise a `UsageError` for the first name that must not be used as a path below the data root."""
    for row in np.flatnonzero(names.str.contains(SUSPICIOUS_NAME, regex=True)):
        name = names.iloc[row]
        if why := unsafe_name(name):
            raise UsageError(f"{path}, row {row + 2}: the name {name!r} is refused: {why}")


def parse_targets(table: pd.DataFrame, path: Path) -> pd.Series:
    """Return the column `target` as 0.0, 1.0 or NaN."""
    if "target" not in table.columns:
        return pd.Series(np.nan, index=table.index)
    # Convert each distinct text once; there are rarely more than three.
    codes, distinct = pd.factorize(table["target"])
    text = pd.Series(distinct).str.strip()
    values = pd.to_numeric(text.mask(text == "", np.nan), errors="coerce").to_numpy(float)
    wrong = ((text != "") & ~np.isin(values, [0, 1])).to_numpy(bool)
    if wrong.all() and text.nunique() == 1:
        log.warning(
            "%s: every target is %s, so the clips count as unlabelled; a target is 1 (fake) or 0 (real)",
            path, shorten(text.iloc[0]),
        )  # fmt: skip
        return pd.Series(np.nan, index=table.index)
    if wrong.any():
        row = int(wrong[codes].argmax())
        name = table["video_name"].iloc[row]
        raise UsageError(f"{path}, row {row + 2}: target {text.iloc[codes[row]]!r} of {name!r} is neither 0 nor 1")
    return pd.Series(values[codes], index=table.index)
