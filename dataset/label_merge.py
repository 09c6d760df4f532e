"""Merge the label files of several data sets into one, with a symbolic link to the clips of each set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from dataset.folds import RECORDING_COLUMNS, check_recordings, column_values
from dataset.labels import read_labels
from utils.errors import UsageError
from utils.media.suffixes import AUDIO_SUFFIXES

CLIPS = "clips"
"""Name of the folder next to a label file that is searched first."""

MODALITY_OF_AUDIO = {0.0: "RVRA", 1.0: "RVFA"}
"""Target of an audio file -> modality: only the audio can be forged."""


@dataclass
class LabelledSet:
    """A data set to merge.

    Attributes:
        name: name of the label file's folder.
        labels: the label file.
        table: its rows.
        clips: folder of the clips.
    """

    name: str
    labels: Path
    table: pd.DataFrame
    clips: Path


@dataclass
class MergedLabels:
    """The merged table, and notes for the user, one sentence each."""

    table: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def merge_labels(
    files: Sequence[Path], output: Path, *, clips: Sequence[Path] = (), prefix_sources: bool = True
) -> MergedLabels:
    """Merge label files, and link the folders of their clips into the folder of the output file.

    The output file itself is not written.

    Args:
        files: the label files; `name` is accepted for `video_name` and `kind` for `type`.
        output: the label file to be written. Clips are named by their paths below its folder.
        clips: folders that are searched for the clips of a set if they are not next to its label file.
        prefix_sources: whether a `source` that occurs in several sets is prefixed with the set's name.

    Raises:
        UsageError: a label file cannot be used, is the output file, or none of its clips is found; or a link would
            replace another file.
    """
    root = output.resolve().parent
    for file in files:
        if file.resolve() == output.resolve():
            raise UsageError(f"--output is one of the label files to merge: {output}")
    merged = MergedLabels(pd.DataFrame())
    sets = open_sets(files, clips, merged.notes)
    places = [place_below(root, part) for part in sets]
    if prefix_sources:
        prefix_shared_sources(sets, merged.notes)
    resolve_pairs(sets)
    note_shared_recordings(sets, merged.notes)
    for part, place in zip(sets, places, strict=True):
        fill_modality(part)
        names = part.table["video_name"].map(lambda name, place=place: str(PurePosixPath(place) / name))
        part.table = part.table.assign(video_name=names)
    drop_partial_folds(sets, merged.notes)
    table = pd.concat([part.table for part in sets], ignore_index=True)
    merged.table = table.assign(target=table["target"].map({0.0: "0", 1.0: "1"})).fillna("")
    note_open_questions(merged, output)
    for part, place in zip(sets, places, strict=True):
        make_link(root / place, part.clips)
    return merged


def open_sets(files: Sequence[Path], clips: Sequence[Path], notes: list[str]) -> list[LabelledSet]:
    """Read the label files and find the clips of each set."""
    sets: list[LabelledSet] = []
    for file in files:
        table = read_labels(file)
        if "kind" in table:
            # `read_labels` has copied it to `type` if there was none.
            table = table.drop(columns="kind") if (table["kind"] == table["type"]).all() else table
        folder = find_clips(file, table, clips)
        missing = [name for name in table["video_name"] if not (folder / name).is_file()]
        if missing:
            notes.append(
                f"{file}: {len(missing)} of {len(table)} clips are not in {folder}, the first is {missing[0]!r}"
            )
        name = unique_name(file.resolve().parent.name or CLIPS, [part.name for part in sets])
        sets.append(LabelledSet(name, file, table, folder))
    return sets


def find_clips(file: Path, table: pd.DataFrame, others: Iterable[Path]) -> Path:
    """Return the folder that contains the most clips of a label file; the first one if several contain equally many.

    Raises:
        UsageError: no folder contains any.
    """
    folders = [file.parent / CLIPS, file.parent, *others]
    counts = [sum((folder / name).is_file() for name in table["video_name"]) for folder in folders]
    if not max(counts):
        searched = ", ".join(map(str, folders))
        raise UsageError(f"{file}: none of its {len(table)} clips is in {searched}; name their folder with --clips")
    return folders[counts.index(max(counts))]


def unique_name(name: str, taken: Sequence[str]) -> str:
    """Return a name that is not taken, by appending a number if necessary."""
    number = 1 + sum(other == name or other.startswith(f"{name}-") for other in taken)
    return name if name not in taken else f"{name}-{number}"


def place_below(root: Path, part: LabelledSet) -> str:
    """Return the path of a set's clip folder below the output folder, or the path of a link if the clips are elsewhere.

    Raises:
        UsageError: the path of the link is used by another file.
    """
    clips = part.clips.resolve()
    if clips.is_relative_to(root):
        return clips.relative_to(root).as_posix()
    link = root / part.name
    if os.path.lexists(link) and link.resolve() != clips:
        kind = "a link to another folder" if link.is_symlink() else "another file or folder"
        raise UsageError(f"{link} is {kind}, so the clips of {part.labels} cannot be linked there; remove or rename it")
    return part.name


def make_link(link: Path, clips: Path) -> None:
    """Make a symbolic link to the clips unless the path leads to them already."""
    if not os.path.lexists(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(clips.resolve(), target_is_directory=True)


def values_of(part: LabelledSet, column: str) -> set[str]:
    """Return the non-empty values of a column; an empty set if the column is absent."""
    return set(column_values(part.table, column)) - {""} if column in part.table else set()


def shared_values(sets: Sequence[LabelledSet], column: str) -> set[str]:
    """Return the values of a column that occur in more than one set."""
    seen: set[str] = set()
    shared: set[str] = set()
    for part in sets:
        values = values_of(part, column)
        shared |= seen & values
        seen |= values
    return shared


def prefix_shared_sources(sets: Sequence[LabelledSet], notes: list[str]) -> None:
    """Prefix sources that occur in several sets with the set's name: most sets number their sources from 1."""
    shared = shared_values(sets, "source")
    if not shared:
        return
    for part in sets:
        if "source" in part.table:
            change = prefixed(part.name, shared)
            part.table["source"] = [change(value) for value in column_values(part.table, "source")]
    notes.append(
        f"{len(shared)} source(s) occur in several sets, the first is {min(shared)!r}; they are prefixed with the name of "
        "their set (--sources keep leaves them unchanged)"
    )


def prefixed(name: str, shared: set[str]) -> Callable[[str], str]:
    """Return a function that prefixes the shared values."""
    return lambda value: f"{name}:{value}" if value in shared else value


def resolve_pairs(sets: Sequence[LabelledSet]) -> None:
    """Copy a pair `SET:CLIP`, which names a clip of another merged set, to that clip if it has no pair itself."""
    wanted = {value for part in sets for value in values_of(part, "pair") if ":" in value}
    for part in sets:
        stems = part.table["video_name"].map(lambda name: PurePosixPath(name).stem)
        named = (part.name + ":" + stems).where((part.name + ":" + stems).isin(wanted), "")
        if (named != "").any():
            own = column_values(part.table, "pair") if "pair" in part.table else np.full(len(named), "")
            part.table["pair"] = np.where(own == "", named, own)


def note_shared_recordings(sets: Sequence[LabelledSet], notes: list[str]) -> None:
    """Note values that relate clips of several sets, which may be accidental."""
    for column in RECORDING_COLUMNS:
        shared = {value for value in shared_values(sets, column) if ":" not in value}
        if shared:
            notes.append(
                f"{len(shared)} value(s) of {column} occur in several sets, the first is {min(shared)!r}; their clips count "
                "as parts of one recording"
            )


def fill_modality(part: LabelledSet) -> None:
    """Add the modality of a set that consists of audio files and has none: RVRA for real ones, RVFA for fakes."""
    suffixes = part.table["video_name"].map(lambda name: PurePosixPath(name).suffix.lower())
    if "modality" not in part.table and suffixes.isin(AUDIO_SUFFIXES).all():
        part.table["modality"] = part.table["target"].map(MODALITY_OF_AUDIO).fillna("")


def drop_partial_folds(sets: Sequence[LabelledSet], notes: list[str]) -> None:
    """Remove the column `fold` if a clip of a set has no fold."""
    without = [
        part.name for part in sets if "fold" not in part.table or (column_values(part.table, "fold") == "").any()
    ]
    if without and len(without) < len(sets):
        notes.append(
            f"{', '.join(without)}: some or all clips have no fold, so the column fold is left out; utils/make_splits.py "
            "makes folds of the merged set"
        )
    if without:
        for part in sets:
            part.table = part.table.drop(columns="fold", errors="ignore")


def note_open_questions(merged: MergedLabels, output: Path) -> None:
    """Note recordings in several folds, and fakes whose forged modality is unknown although the column exists."""
    table = merged.table
    if "fold" in table:
        try:
            check_recordings(table, column_values(table, "fold"), output)
        except UsageError as error:
            merged.notes.append(str(error))
    if "modality" in table:
        unknown = (table["target"] == "1") & (table["modality"] == "")
        if unknown.any():
            merged.notes.append(
                f"the modality of {unknown.sum()} fake(s) is unknown; train_experts.py --labelled_fakes does not train on them"
            )
