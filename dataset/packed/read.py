"""Reading of packed features: checks when a pack is opened, then one gather per array and batch."""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.packed.index import (
    CLIPS_PER_BLOCK,
    FOLDER,
    REPACK,
    ArrayHeader,
    PackedFile,
    PackIndex,
    array_header,
    read_index,
    require_arrays,
    stale,
)
from dataset.packed.sources import SourceState, source_state
from dataset.samples import InputLayout
from dataset.splits import Split
from utils.errors import UsageError, WriteError
from utils.features.base import MaskedArray, features_of
from utils.features.clip import ClipFacts, ClipFeatures
from utils.files import write_text_atomic

FACT_COLUMNS = {
    "video_name": str, "status": str, "reason": str, "duration_s": float, "n_frames": int, "fps": float, "has_audio": int,
}  # fmt: skip
DURATION = list(FACT_COLUMNS).index("duration_s") - 1
"""Position of the duration among the facts, without the name."""

VERIFIED = "verified.json"
"""Records the state of the packed files whose checksums were last compared."""


class PackedArray:
    """One packed array of all clips, mapped into memory."""

    def __init__(self, path: Path, counts: np.ndarray, header: ArrayHeader) -> None:
        """Map a file.

        Args:
            path: the entries of all clips, one after the other.
            counts: (N,) number of entries of each clip.
            header: shape and type of the array.
        """
        self.header = header
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._counts = counts
        shape = (int(self._starts[-1]), *header.entry_shape)
        dtype = np.dtype(header.stored)
        self._entries: np.ndarray = np.zeros(shape, dtype)
        if self._entries.size:
            with open(path, "rb") as stream:
                mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            self._entries = np.frombuffer(mapped, dtype).reshape(shape)

    def gather(self, rows: np.ndarray, empty: np.ndarray | None = None) -> MaskedArray:
        """Copy the entries of B clips into one array: values (B, ...) in the type of the file, and their mask.

        Args:
            rows: (B,) int64, rows of the clips.
            empty: (B, *shape) array to write to, for example in page-locked memory; `None` for a new one.
        """
        header = self.header
        if empty is None:
            empty = np.empty((len(rows), *header.shape), np.dtype(header.stored))
        starts, counts = self._starts[rows], self._counts[rows]
        if not header.padded:
            mask = counts > 0
            if mask.all():
                # Without this mode, numpy would gather into a buffer first.
                np.take(self._entries, starts, axis=0, out=empty, mode="clip")
                return MaskedArray(empty, mask)
            empty[mask] = self._entries[starts[mask]]
            empty[~mask] = 0
            return MaskedArray(empty, mask)
        mask = np.arange(header.max_entries) < counts[:, None]
        position = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        empty[~mask] = 0
        empty[mask] = self._entries[np.repeat(starts, counts) + position]
        return MaskedArray(empty, mask)


class PackedFeatures:
    """The packed features of a split."""

    def __init__(self, split: Split, names: list[str]) -> None:
        """Open and check the pack of a split.

        Args:
            split: the split.
            names: clips of its label file.

        Raises:
            UsageError: there is no pack, it is stale, or a file is truncated or damaged. The message names the field.
        """
        self.folder = split.store.root / FOLDER
        index = read_index(self.folder)
        if index is None:
            raise UsageError(f"{self.folder} has no packed features; run `python utils/pack_features.py`")
        self.index = index
        inputs = [name for feature in split.store.requested() for name in feature_inputs(split, feature)]
        layout = InputLayout(split.store.config, inputs)
        wanted = {spec.name: array_header(spec, split.store.config) for spec in layout.specs}
        require_arrays(index, wanted, self.folder)
        require_files(self.folder, index)
        require_checksums(self.folder, index)
        table = read_clip_table(self.folder / index.files["clips"].name)
        self._names = names
        self._require_sources(split, names, table["video_name"].tolist())
        self._facts = [table[name].tolist() for name in list(FACT_COLUMNS)[1:]]
        self.arrays = {name: self._open_array(name) for name in wanted}

    def __call__(self, name: str, features: Collection[str] | None = None) -> ClipFeatures:
        """Refuse to read a single clip: a pack has arrays, not the values of features.

        Raises:
            UsageError: always.
        """
        raise UsageError("data.source=packed is for training and evaluation of one split; set data.source=features")

    def facts(self, rows: np.ndarray) -> list[ClipFacts]:
        """Return the facts of B clips."""
        chosen = ([column[row] for row in rows.tolist()] for column in self._facts)
        return [
            ClipFacts(status, reason, duration_s, n_frames, fps, has_audio == 1)
            for status, reason, duration_s, n_frames, fps, has_audio in zip(*chosen, strict=True)
        ]

    def longer_than(self, seconds: float, names: Collection[str]) -> int:
        """Return the number of these clips that are longer than `seconds`."""
        chosen = set(names)
        durations_s = zip(self._names, self._facts[DURATION], strict=True)
        return sum(name in chosen and duration_s > seconds for name, duration_s in durations_s)

    def _open_array(self, name: str) -> PackedArray:
        files = self.index.files
        counts = read_counts(self.folder, self.index, name)
        return PackedArray(self.folder / files[name].name, counts, self.index.header.arrays[name])

    def _require_sources(self, split: Split, names: list[str], packed_names: list[str]) -> None:
        """Check that label file and feature files are those that were packed.

        Raises:
            UsageError: a file differs; the message names it.
        """
        header = self.index.header
        state = source_state(split, packed_names, features_of(list(header.arrays)))
        if state.labels != header.labels or names != packed_names:
            raise stale(self.folder, f"SHA-256 of {split.labels}", header.labels[:12], state.labels[:12])
        if state.has_files and state.hash != header.sources:
            raise UsageError(
                f"the packed features in {self.folder} are stale: source file {self._changed_file(state, packed_names)} "
                f"has changed since it was packed; {REPACK}"
            )
        if state.extraction and state.extraction != header.extraction:
            raise stale(self.folder, "hash of the rows of extraction.csv", header.extraction, state.extraction)

    def _changed_file(self, state: SourceState, names: list[str]) -> str:
        """Return the first feature file, as folder and clip, whose state is not that of the packed one."""
        packed = np.fromfile(self.folder / self.index.files["sources"].name, np.int64)
        if packed.size != state.files.size:
            return ", ".join(state.folders)
        feature, clip, _ = np.argwhere(packed.reshape(state.files.shape) != state.files)[0]
        return f"{state.folders[feature]} of {names[clip]!r}"


def feature_inputs(split: Split, feature: str) -> tuple[str, ...]:
    """Return the names of the arrays of a feature."""
    return split.store.config.build([feature])[0].inputs


def read_counts(folder: Path, index: PackIndex, name: str) -> np.ndarray:
    """Read the number of entries of each clip in an array: (N,) int32.

    Raises:
        UsageError: they do not fit the clips or the entries of the array.
    """
    header = index.header.arrays[name]
    path = folder / index.files[f"{name}.counts"].name
    counts = np.fromfile(path, np.int32)
    in_range = counts.min(initial=0) >= 0 and counts.max(initial=0) <= header.max_entries
    size = int(counts.sum(dtype=np.int64)) * header.entry_bytes
    if len(counts) != index.header.clips or not in_range or size != index.files[name].size:
        raise UsageError(f"{path} is damaged: it does not fit the entries and the clips; {REPACK}")
    return counts


def read_clip_table(path: Path) -> pd.DataFrame:
    """Read the names and facts of the clips.

    Raises:
        UsageError: the file is not such a table.
    """
    try:
        return pd.read_csv(path, names=list(FACT_COLUMNS), dtype=FACT_COLUMNS, keep_default_na=False, header=None)
    except ValueError:
        raise UsageError(f"{path} is damaged: it is not a table of clips; {REPACK}") from None


def require_files(folder: Path, index: PackIndex) -> None:
    """Check that the files exist and have their sizes.

    Raises:
        UsageError: a file is missing or has another size.
    """
    for file in index.files.values():
        path = folder / file.name
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            raise UsageError(f"{path} is missing; {REPACK}")
        if size != file.size:
            raise UsageError(f"{path} is damaged: size: {file.size} bytes packed, {size} now; {REPACK}")


def require_checksums(folder: Path, index: PackIndex, *, always: bool = False) -> None:
    """Compare the checksums of all files that have changed since they were last compared.

    Args:
        folder: the folder of the pack.
        index: its index.
        always: compare all files.

    Raises:
        UsageError: a block of a file has another checksum.
    """
    verified = {} if always else read_verified(folder)
    stamps = {file.name: stamp(folder / file.name) for file in index.files.values()}
    changed = [file for file in index.files.values() if stamps[file.name] != verified.get(file.name)]
    for file in changed:
        require_checksum(folder / file.name, file)
    if changed:
        try:
            write_text_atomic(folder / VERIFIED, json.dumps(stamps) + "\n")
        except (OSError, WriteError):
            # The folder may be read-only. The files are then compared each time.
            return


def verify_checksums(packed: PackedFeatures) -> None:
    """Compare the checksums of all files of a pack.

    Raises:
        UsageError: a block of a file has another checksum.
    """
    require_checksums(packed.folder, packed.index, always=True)


def require_checksum(path: Path, file: PackedFile) -> None:
    """Check the blocks of a file.

    Raises:
        UsageError: a block has another checksum.
    """
    start = 0
    with open(path, "rb") as stream:
        for number, (end, checksum) in enumerate(zip(file.ends, file.checksums, strict=True)):
            if zlib.crc32(stream.read(end - start)) != checksum:
                first = number * CLIPS_PER_BLOCK
                raise UsageError(
                    f"{path} is damaged: checksum of the clips {first} to {first + CLIPS_PER_BLOCK - 1} differs; {REPACK}"
                )
            start = end


def stamp(path: Path) -> list[int]:
    """Return numbers that change when a file is written: size, times of modification and of status change, inode."""
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def read_verified(folder: Path) -> dict[str, list[int]]:
    """Return the stamps of the files that were last compared; empty if there are none."""
    try:
        content = json.loads((folder / VERIFIED).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
