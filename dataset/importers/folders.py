"""Clips in two folders, `real` and `fake`, as in many small data sets and private collections.

This is not an official format. Folder names are case-insensitive. A sub-folder of `fake` gives the forgery type.

Pitfall: real and fake clips in such folders often come from different sources. A model can then score well by recognising
the source. Run `utils/audit_dataset.py` on the result.
"""

from __future__ import annotations

from pathlib import Path

from dataset.importers.imported_clip import Imported, ImportedClip
from dataset.importers.reading import clean_name
from utils.errors import UsageError
from utils.features.store import files_below

TARGETS = {"real": 0, "fake": 1}


def read(path: Path) -> Imported:
    """Read the file names of both folders.

    Returns:
        Clips with names relative to `path`. Hidden files are skipped; all others count as clips.

    Raises:
        UsageError: one of the two folders is missing or empty.
    """
    if not path.is_dir():
        raise UsageError(f"--metadata must be the folder that contains real/ and fake/, not {path}")
    folders = {name: [folder for folder in sorted(path.iterdir()) if folder.name.lower() == name] for name in TARGETS}
    clips = []
    for name, found in folders.items():
        files = [f"{folder.name}/{file}" for folder in found for file in sorted(files_below(folder))]
        files = [file for file in files if not any(part.startswith(".") for part in file.split("/"))]
        if not files:
            raise UsageError(f"{path}: no files in a folder {name}/")
        clips += [clip_of(file, name) for file in files]
    note = "the two folders often come from different sources; check with utils/audit_dataset.py whether this separates them"
    return Imported(clips, [note])


def clip_of(file: str, name: str) -> ImportedClip:
    """Convert the path `<folder>/[<type>/]...<file>` to a clip."""
    parts = file.split("/")
    return ImportedClip(
        clean_name(file, file), TARGETS[name], type=parts[1] if name == "fake" and len(parts) > 2 else name
    )
