"""Official metadata of the field's data sets -> our label CSV: one reader per data set, one small module each.

Each module's docstring cites where its format was seen; `docs/DATASETS.md` lists what is read, and what is not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dataset.importers import av_deepfake1m, dfdc, fakeavceleb, folders, idforge, kodf, lav_df, multiffdv
from dataset.importers.imported_clip import Imported
from dataset.importers.label_table import import_labels, write_labels
from utils.errors import UsageError

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
"""A data set's name, in capitals or not -> what reads its metadata."""


def find_importer(name: str) -> Importer:
    """Return the importer of the data set `name`.

    Raises:
        UsageError: there is none. The message lists all importers.
    """
    for known, importer in IMPORTERS.items():
        if known.casefold() == name.casefold():
            return importer
    raise UsageError(f"unknown data set {name!r} (there are: {', '.join(IMPORTERS)})")


__all__ = ["IMPORTERS", "Imported", "find_importer", "import_labels", "write_labels"]
