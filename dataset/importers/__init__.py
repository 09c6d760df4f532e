"""Official metadata of the field's data sets -> our label CSV: one reader per data set, one small module each.

Each module's docstring cites where its format was seen. `docs/DATASETS.md` lists what is read, and what is not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dataset.importers import av_deepfake1m, dfdc, fakeavceleb, folders, idforge, kodf, lav_df, multiffdv
from dataset.importers.clip import Imported
from dataset.importers.table import select_split, to_table, write_labels
from utils.errors import UsageError
from utils.registry import nearest_name

Importer = Callable[[Path], Imported]

IMPORTERS: dict[str, Importer] = {
    "MultiFFDV": multiffdv.read,
    "FakeAVCeleb": fakeavceleb.read,
    "LAV-DF": lav_df.read,
    "AV-Deepfake1M": av_deepfake1m.read,
    "AV-Deepfake1M++": av_deepfake1m.read,
    "DFDC": dfdc.read,
    "IDForge": idforge.read,
    "KoDF": kodf.read,
    "folders": folders.read,
}
"""The name on the command line (upper or lower case) -> what reads that data set's metadata."""


def find_importer(name: str) -> Importer:
    """The reader of the data set `name`.

    Raises:
        UsageError: there is none; names the nearest and lists all.
    """
    by_name = {known.casefold(): importer for known, importer in IMPORTERS.items()}
    if name.casefold() not in by_name:
        raise UsageError(f"unknown data set {name!r}{nearest_name(name, IMPORTERS)} (there are: {', '.join(IMPORTERS)})")
    return by_name[name.casefold()]


__all__ = ["IMPORTERS", "Imported", "find_importer", "select_split", "to_table", "write_labels"]
