"""DFDC: `metadata.json`, one in each part of the training set.

Seen: entries of the file in github.com/aaronchong888/DeepFake-Detect, `train_sample_videos/metadata.json` (one is
`"aagfhgtpmv.mp4": {"label": "FAKE", "split": "train", "original": "vudstovrck.mp4"}`), and the reader of the challenge's
winner, github.com/selimsef/dfdc_deepfake_challenge, `preprocessing/utils.py`.

Traps:
- `original` of a real clip is null; the original of a fake need not be among the clips of a sample.
- The label does not say whether frames or sound were forged, and no field names the actor: no `modality`, no `identity`.
- Everything is `train`: there is no official validation split in it.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from dataset.importers.imported_clip import Imported, ImportedClip
from dataset.importers.reading import clean_name, describe, optional_text, read_json, split_of
from utils.errors import UsageError

FILE = "metadata.json"
TARGETS = {"REAL": 0, "FAKE": 1}


def read(path: Path) -> Imported:
    """Read one part's `metadata.json`, or the folder that holds the parts.

    Returns:
        Names as the file has them; below a folder of parts, `<part>/<name>`.

    Raises:
        UsageError: not such a file, no part in the folder, an unknown label.
    """
    if not path.is_dir():
        return Imported(part_clips(path, ""))
    if (path / FILE).is_file():
        return Imported(part_clips(path / FILE, ""))
    parts = sorted(path.glob(f"*/{FILE}"))
    if not parts:
        raise UsageError(f"{path}: neither a {FILE} nor a folder with one in it")
    return Imported([clip for part in parts for clip in part_clips(part, f"{part.parent.name}/")])


def part_clips(path: Path, prefix: str) -> list[ImportedClip]:
    """Read the clips of one part."""
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{path}: expected DFDC's metadata.json, a mapping of names; it holds {describe(content)}")
    return [clip_of(name, entry, path, prefix) for name, entry in content.items()]


def clip_of(name: str, entry: Any, path: Path, prefix: str) -> ImportedClip:
    """One entry of the mapping."""
    where = f"{path}, {name!r}"
    label = entry.get("label") if isinstance(entry, dict) else None
    if label not in TARGETS:
        raise UsageError(f"{where}: the label {describe(label)} is neither REAL nor FAKE")
    original = optional_text(entry, "original") or name
    return ImportedClip(
        clean_name(prefix + name, where),
        TARGETS[label],
        type=label.lower(),
        source=PurePosixPath(original.replace("\\", "/")).stem,
        split=split_of(optional_text(entry, "split")),
    )
