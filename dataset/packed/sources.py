"""The state of the files that a split is packed from: label file, extraction manifest and feature files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.manifest import COLUMNS, manifest_files, read_rows
from dataset.splits import Split
from utils.features.base import Feature, with_sources
from utils.features.store import files_below, normal_name, stem_of
from utils.files import file_sha256


@dataclass(frozen=True)
class SourceState:
    """State of the files of a split.

    Attributes:
        labels: SHA-256 of the label file.
        extraction: hash of the rows of the extraction manifest; empty if there is none.
        files: (F, N, 2) int64, size and time of modification (ns) of each feature's file of each clip, -1 if absent.
        folders: the folder of each feature's files, (F,).
    """

    labels: str
    extraction: str
    files: np.ndarray
    folders: tuple[str, ...]

    @property
    def has_files(self) -> bool:
        """Whether any feature file exists. A pack can be used without the files that it was made from."""
        return bool((self.files >= 0).any())

    @property
    def hash(self) -> str:
        """Hash of `files` and `folders`."""
        return hashlib.sha256(repr(self.folders).encode() + self.files.tobytes()).hexdigest()[:16]


def source_state(split: Split, names: list[str], features: tuple[str, ...]) -> SourceState:
    """Return the state of the files that these features of these clips are read from."""
    store = split.store
    stored = [feature for feature in store.config.build(with_sources(features)) if feature.folder]
    files = np.full((len(stored), len(names), 2), -1, np.int64)
    for number, feature in enumerate(stored):
        files[number] = file_states(store.root / feature.folder, feature, names)
    return SourceState(
        file_sha256(split.labels),
        extraction_hash(store.root, names),
        files,
        tuple(feature.folder for feature in stored),
    )


def file_states(folder: Path, feature: Feature, names: list[str]) -> np.ndarray:
    """Return size and time of modification of a feature's file of each clip, (N, 2) int64; -1 if absent."""
    states = {}
    for name in files_below(folder):
        status = os.stat(f"{folder}/{name}")
        states[name] = (status.st_size, status.st_mtime_ns)
    absent = (-1, -1)
    found = [states.get(f"{normal_name(name)}{feature.suffix}", absent) for name in names]
    if feature.named_by_stem:
        found = [
            states.get(f"{stem_of(name)}{feature.suffix}", absent) if state is absent else state
            for name, state in zip(names, found, strict=True)
        ]
    return np.array(found, np.int64).reshape(len(names), 2)


def extraction_hash(root: Path, names: list[str]) -> str:
    """Return a hash of the extraction results of the clips, without the durations of the extraction."""
    if not manifest_files(root):
        return ""
    table = read_rows(root).of(names).table[COLUMNS[:-1]].astype({"status": str, "reason": str})
    return hashlib.sha256(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()).hexdigest()[:16]
