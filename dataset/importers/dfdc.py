"""DFDC: `metadata.json`, one in each part of the training set.

Sources: entries of the file in github.com/aaronchong888/DeepFake-Detect, `train_sample_videos/metadata.json` (one is
`"aagfhgtpmv.mp4": {"label": "FAKE", "split": "train", "original": "vudstovrck.mp4"}`), and the reader of the challenge's
winner, github.com/selimsef/dfdc_deepfake_challenge, `preprocessing/utils.py`.

Pitfalls:
- `original` is null for real clips. The original of a fake may be missing from the sample set.
- The metadata does not state whether video or audio is forged, nor who is shown, so `modality` and `identity` are empty.
- All clips are `train`: the metadata has no validation split.
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
    """Read the `metadata.json` of one part, or a folder of parts.

    Returns:
        Clips with names as in the file; for a folder of parts, `<part>/<name>`.

    Raises:
        UsageError: the file has another format, the folder has no parts, or a label is unknown.
    """
    if not path.is_dir():
        return Imported(part_clips(path, ""))
    if (path / FILE).is_file():
        return Imported(part_clips(path / FILE, ""))
    parts = sorted(path.glob(f"*/{FILE}"))
    if not parts:
        raise UsageError(f"{path}: neither this folder nor its sub-folders contain a {FILE}")
    return Imported([clip for part in parts for clip in part_clips(part, f"{part.parent.name}/")])


def part_clips(path: Path, prefix: str) -> list[ImportedClip]:
    """Read the clips of one part."""
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{path}: expected DFDC's metadata.json, a mapping of names; found {describe(content)}")
    return [clip_of(name, entry, path, prefix) for name, entry in content.items()]


def clip_of(name: str, entry: Any, path: Path, prefix: str) -> ImportedClip:
    """Convert one entry of the mapping."""
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
