"""Clips sorted into two folders, `real` and `fake`: the form that many small sets, and users' own collections, have.

Not an official format: a folder with sub-folders `real` and `fake` (in capitals or not). A folder below `fake` names the type.

Trap: such folders often hold two sources of clips, reals from here and fakes from there, and then a detector of sources looks
like a detector of fakes: run `utils/audit_dataset.py` on the result.
"""

from __future__ import annotations

from pathlib import Path

from dataset.importers.imported_clip import Imported, ImportedClip
from dataset.importers.reading import clean_name
from utils.errors import UsageError
from utils.features.store import files_below

TARGETS = {"real": 0, "fake": 1}


def read(path: Path) -> Imported:
    """List the files of both folders.

    Returns:
        Names below `path`; hidden files are left out, all others are taken for clips.

    Raises:
        UsageError: one of the two folders is absent or empty.
    """
    if not path.is_dir():
        raise UsageError(f"--metadata should be the folder that holds real/ and fake/, it is {path}")
    folders = {name: [folder for folder in sorted(path.iterdir()) if folder.name.lower() == name] for name in TARGETS}
    clips = []
    for name, found in folders.items():
        files = [f"{folder.name}/{file}" for folder in found for file in sorted(files_below(folder))]
        files = [file for file in files if not any(part.startswith(".") for part in file.split("/"))]
        if not files:
            raise UsageError(f"{path}: no file in a folder {name}/")
        clips += [clip_of(file, name) for file in files]
    note = "clips of two folders often come from two sources: utils/audit_dataset.py says whether that alone tells them apart"
    return Imported(clips, [note])


def clip_of(file: str, name: str) -> ImportedClip:
    """Parse the path `<folder>/[<type>/]...<file>` of a clip."""
    parts = file.split("/")
    return ImportedClip(
        clean_name(file, file), TARGETS[name], type=parts[1] if name == "fake" and len(parts) > 2 else name
    )
