"""From the clips that a reader gives to a label CSV: split, duplicates, places on disk, columns."""

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
"""Written where at least one clip has a value."""


def import_labels(imported: Imported, *, split: str | None = None, video_dir: Path | None = None) -> pd.DataFrame:
    """Build the label table. Remarks for the user are added to `imported.notes`.

    Args:
        imported: what a reader returned.
        split: only the clips of this official split.
        video_dir: folder of the clips. Names not found in it are searched in its sub-folders.

    Raises:
        UsageError: no clip; no such split; one clip listed as real and as fake.
    """
    clips = imported.clips if split is None else clips_of_split(imported.clips, split)
    clips = merge_duplicates(clips, imported.notes)
    if video_dir is not None:
        clips = locate(clips, video_dir, imported.notes)
    if not clips:
        raise UsageError("the metadata names no clip")
    return to_table(clips)


def clips_of_split(clips: list[ImportedClip], split: str) -> list[ImportedClip]:
    """Return the clips of an official split.

    Raises:
        UsageError: there is no such split, or no official split at all.
    """
    names = sorted({clip.split for clip in clips} - {""})
    if not names:
        raise UsageError(
            f"--split {split}: this metadata has no official split; utils/make_splits.py makes one that does not leak"
        )
    if split not in names:
        raise UsageError(f"--split {split}: this metadata has {', '.join(names)}")
    return [clip for clip in clips if clip.split == split]


def merge_duplicates(clips: list[ImportedClip], notes: list[str]) -> list[ImportedClip]:
    """Clips with each name once; differing types and generators of one name are joined with `|`.

    Raises:
        UsageError: a name is listed as real and as fake.
    """
    by_name: dict[str, ImportedClip] = {}
    n_merged = 0
    for clip in clips:
        first = by_name.setdefault(clip.video_name, clip)
        if first is clip:
            continue
        if first.target != clip.target:
            raise UsageError(f"{clip.video_name!r} is listed as real and as fake")
        n_merged += 1
        by_name[clip.video_name] = replace(
            first, type=joined(first.type, clip.type), generator=joined(first.generator, clip.generator)
        )
    if n_merged:
        notes.append(f"{n_merged} clip(s) are listed twice; each is one row, differing types joined with |")
    return list(by_name.values())


def joined(first: str, second: str) -> str:
    """Two values of one clip, the same one once."""
    return "|".join(dict.fromkeys(part for part in [*first.split("|"), second] if part))


def locate(clips: list[ImportedClip], video_dir: Path, notes: list[str]) -> list[ImportedClip]:
    """Replace each name that is no file of the folder by the one file below it that is called so.

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
            missing["several files have the name" if places else "not there"] += 1
            found.append(clip)
    if missing:
        counts = ", ".join(f"{count} {reason}" for reason, count in missing.items())
        notes.append(f"clips not found below {video_dir}: {counts}; their names are kept as the metadata has them")
    return found


def to_table(clips: list[ImportedClip]) -> pd.DataFrame:
    """One row per clip: our columns, and the further ones that say something."""
    rows = {field.name: [getattr(clip, field.name) for clip in clips] for field in fields(ImportedClip)}
    table = pd.DataFrame(rows, dtype=object)
    table["target"] = table["target"].map(lambda target: "" if target is None else str(target))
    table["spans"] = table["spans"].map(spans_cell)
    return table[[*COLUMNS, *(name for name in FURTHER_COLUMNS if (table[name] != "").any())]]


def spans_cell(spans: Spans | None) -> str:
    """Spans as a JSON list of [start, end] in seconds; empty where they are not known."""
    return "" if spans is None else json.dumps([list(span) for span in spans])


def write_labels(path: Path, table: pd.DataFrame) -> None:
    """Write the label CSV atomically, with the same bytes on every system."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
