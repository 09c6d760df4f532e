"""Readers that convert the official metadata of public data sets to our label CSV, one module per data set.

Each module docstring cites the source of the format. `docs/DATASETS.md` lists the supported data sets and fields.
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
"""Data set name (case-insensitive) -> reader of its metadata."""


def find_importer(name: str) -> Importer:
    """Return the reader of the data set `name`.

    Raises:
        UsageError: unknown name; the message lists all names.
    """
    for known, importer in IMPORTERS.items():
        if known.casefold() == name.casefold():
            return importer
    raise UsageError(f"unknown data set {name!r} (known: {', '.join(IMPORTERS)})")


__all__ = ["IMPORTERS", "Imported", "find_importer", "import_labels", "write_labels"]
