"""Convert the clips of a reader to a label CSV: select a split, merge duplicates, locate files, choose columns."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd

from dataset.importers.imported_clip import Imported, ImportedClip, Spans
from utils.errors import UsageError
from utils.features.store import files_below
from utils.files import atomic_path

COLUMNS = ("video_name", "target", "type", "source", "identity", "spans")
FURTHER_COLUMNS = ("modality", "generator", "donor", "split")
"""Columns that are written only if at least one clip has a value."""


def import_labels(imported: Imported, *, split: str | None = None, video_dir: Path | None = None) -> pd.DataFrame:
    """Build the label table from imported clips. Notes for the user are appended to `imported.notes`.

    Args:
        imported: result of a reader.
        split: official split to select; `None` selects all clips.
        video_dir: folder of the clips; clips not found by name are searched in its sub-folders.

    Raises:
        UsageError: there are no clips, the split is unknown, or a clip is listed both as real and as fake.
    """
    clips = imported.clips if split is None else clips_of_split(imported.clips, split)
    clips = merge_duplicates(clips, imported.notes)
    if video_dir is not None:
        clips = locate(clips, video_dir, imported.notes)
    if not clips:
        raise UsageError("the metadata contains no clips")
    return to_table(clips)


def clips_of_split(clips: list[ImportedClip], split: str) -> list[ImportedClip]:
    """Return the clips of an official split.

    Raises:
        UsageError: the metadata lacks this split, or has no splits.
    """
    names = sorted({clip.split for clip in clips} - {""})
    if not names:
        raise UsageError(
            f"--split {split}: this metadata has no official split; utils/make_splits.py creates leak-free splits"
        )
    if split not in names:
        raise UsageError(f"--split {split}: this metadata has only {', '.join(names)}")
    return [clip for clip in clips if clip.split == split]


def merge_duplicates(clips: list[ImportedClip], notes: list[str]) -> list[ImportedClip]:
    """Merge clips with the same name. Different types and generators are joined with `|`.

    Raises:
        UsageError: a name is listed both as real and as fake.
    """
    by_name: dict[str, ImportedClip] = {}
    n_merged = 0
    for clip in clips:
        first = by_name.setdefault(clip.video_name, clip)
        if first is clip:
            continue
        if first.target != clip.target:
            raise UsageError(f"{clip.video_name!r} is listed both as real and as fake")
        n_merged += 1
        by_name[clip.video_name] = replace(
            first, type=joined(first.type, clip.type), generator=joined(first.generator, clip.generator)
        )
    if n_merged:
        notes.append(
            f"{n_merged} clip(s) are listed more than once; duplicates were merged, different types joined with |"
        )
    return list(by_name.values())


def joined(first: str, second: str) -> str:
    """Join two values with `|`, without repetitions."""
    return "|".join(dict.fromkeys(part for part in [*first.split("|"), second] if part))


def locate(clips: list[ImportedClip], video_dir: Path, notes: list[str]) -> list[ImportedClip]:
    """Replace names that do not exist in the folder with the only file of that name in its sub-folders.

    Raises:
        UsageError: the folder does not exist.
    """
    if not video_dir.is_dir():
        raise UsageError(f"--video_dir: no such folder: {video_dir}")
    files = files_below(video_dir)
    there = set(files)
    called = defaultdict(list)
    for file in files:
        called[file.rpartition("/")[2]].append(file)
    found: list[ImportedClip] = []
    missing: Counter[str] = Counter()
    for clip in clips:
        if clip.video_name in there:
            found.append(clip)
            continue
        places = called[clip.video_name.rpartition("/")[2]]
        if len(places) == 1:
            found.append(replace(clip, video_name=places[0]))
        else:
            missing["ambiguous" if places else "missing"] += 1
            found.append(clip)
    if missing:
        counts = ", ".join(f"{count} {reason}" for reason, count in missing.items())
        notes.append(f"clips not found below {video_dir}: {counts}; their names are unchanged")
    return found


def to_table(clips: list[ImportedClip]) -> pd.DataFrame:
    """Build one row per clip with the standard columns and the non-empty further columns."""
    rows = {field.name: [getattr(clip, field.name) for clip in clips] for field in fields(ImportedClip)}
    table = pd.DataFrame(rows, dtype=object)
    table["target"] = table["target"].map(lambda target: "" if target is None else str(target))
    table["spans"] = table["spans"].map(spans_cell)
    return table[[*COLUMNS, *(name for name in FURTHER_COLUMNS if (table[name] != "").any())]]


def spans_cell(spans: Spans | None) -> str:
    """Format spans as a JSON list of [start, end] in seconds; empty if unknown."""
    return "" if spans is None else json.dumps([list(span) for span in spans])


def write_labels(path: Path, table: pd.DataFrame) -> None:
    """Write the label CSV atomically, with identical bytes on all platforms."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
