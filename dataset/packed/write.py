"""Packing of a split: its stored features are read once and written as a few large files.

Files are appended to in blocks of clips, and a progress file records the end of each block. An interrupted packing, even by
`kill -9`, continues after the last complete block. `index.json` is written last and atomically, so a reader sees the old pack,
no pack, or the new one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset.labels import read_labels
from dataset.manifest import ManifestRows, read_rows
from dataset.packed.entries import CHUNK_BYTES, PackedClips, PackTask, read_chunks
from dataset.packed.files import AppendedFile
from dataset.packed.index import (
    CLIPS_PER_BLOCK,
    FOLDER,
    INDEX_NAME,
    PackedFile,
    PackHeader,
    PackIndex,
    array_header,
    file_names,
    read_index,
)
from dataset.packed.read import read_clip_table, read_counts, require_checksums, require_files
from dataset.packed.sources import source_state
from dataset.samples import InputLayout
from dataset.splits import Split
from utils.errors import UsageError
from utils.features.clip import ClipFacts
from utils.features.extract import require_parts
from utils.files import LOCK_NAME, locked, write_text_atomic, writing

NO_ROW = ClipFacts("failed", "not_extracted")


@dataclass(frozen=True)
class PackSummary:
    """Result of packing a split: number of clips, of clips with any array, size in bytes, and whether it was packed now."""

    clips: int
    usable: int
    size: int
    new: bool

    def sentence(self, split: str) -> str:
        """Format the summary in one line."""
        done = "packed" if self.new else "already packed"
        return f"{split}: {self.clips} clips {done}, {self.usable} with features, {self.size / 1e6:.1f} MB"


def packed_inputs(split: Split) -> tuple[str, ...]:
    """Return the names of the arrays that are packed: those of all enabled features."""
    features = split.store.config.build(split.store.requested())
    return tuple(name for feature in features for name in feature.inputs)


def pack_split(split: Split, *, workers: int = 0, quiet: bool = False) -> PackSummary:
    """Pack a split's stored features unless an up-to-date pack exists.

    Args:
        split: the split; its features are extracted.
        workers: number of processes that read; 0 reads in this one.
        quiet: hide the progress bar.

    Raises:
        UsageError: there are no features of this config, or the label file is invalid.
        WorkError: a file cannot be written, or a value of a fixed-point array is outside [0, 1].
    """
    store = split.store
    if not store.root.is_dir():
        raise UsageError(f"{store.root} does not exist; run `python utils/extract_ffdv.py` first")
    require_parts(store.config)
    store.open()
    folder = store.root / FOLDER
    with writing(folder):
        folder.mkdir(exist_ok=True)
    with locked(folder), writing(folder):
        names = read_labels(split.labels)["video_name"].tolist()
        header, states = wanted_header(split, names)
        index = current_index(folder, header, names)
        new = index is None
        if index is None:
            rows = read_rows(store.root)
            with writing(folder):
                index = PackWriter(folder, header, states).write(split, names, rows, workers=workers, quiet=quiet)
    usable = count_usable(folder, index)
    return PackSummary(len(names), usable, sum(file.size for file in index.files.values()), new)


def wanted_header(split: Split, names: list[str]) -> tuple[PackHeader, np.ndarray]:
    """Return the header of a pack of the current files, and the states of these files."""
    config = split.store.config
    inputs = packed_inputs(split)
    layout = InputLayout(config, inputs)
    state = source_state(split, names, layout.features)
    header = PackHeader(
        fingerprint=config.fingerprint(),
        clips=len(names),
        labels=state.labels,
        extraction=state.extraction,
        sources=state.hash,
        arrays={spec.name: array_header(spec, config) for spec in layout.specs},
    )
    return header, state.files


def current_index(folder: Path, header: PackHeader, names: list[str]) -> PackIndex | None:
    """Return the folder's index if it has this header and these clips and its files are complete and undamaged."""
    try:
        index = read_index(folder)
        if index is None or index.header != header:
            return None
        require_files(folder, index)
        require_checksums(folder, index)
        for name in header.arrays:
            read_counts(folder, index, name)
        table = read_clip_table(folder / index.files["clips"].name)
    except UsageError:
        return None
    return index if table["video_name"].tolist() == names else None


def count_usable(folder: Path, index: PackIndex) -> int:
    """Return the number of clips that have an entry of any array."""
    usable = np.zeros(index.header.clips, bool)
    for name in index.header.arrays:
        usable |= np.fromfile(folder / index.files[f"{name}.counts"].name, np.int32) > 0
    return int(usable.sum())


class PackWriter:
    """Writer of the files of one pack."""

    def __init__(self, folder: Path, header: PackHeader, states: np.ndarray) -> None:
        """Name the files after the header, so that they differ from those of any other pack."""
        self._folder, self._header, self._states = folder, header, states
        self._names = file_names(header)
        self._progress = folder / f"progress-{header.identity()}.json"

    def write(self, split: Split, names: list[str], rows: ManifestRows, *, workers: int, quiet: bool) -> PackIndex:
        """Write the files, continuing an interrupted packing, then the index. Files of other packs are removed."""
        done = self._read_progress()
        first = len(done["clips"].ends) * CLIPS_PER_BLOCK
        files = {role: AppendedFile(self._folder / file.name, file) for role, file in done.items()}
        try:
            clips = [(name, rows[name].facts if name in rows else NO_ROW) for name in names[first:]]
            # Without the argument, `--quiet` of a command that packs on its first run takes effect (TQDM_DISABLE).
            hidden = {"disable": True} if quiet else {}
            progress = tqdm(
                total=len(names), initial=first, desc=f"packing {split.name}", unit="clip", dynamic_ncols=True, **hidden
            )
            with progress:
                blocks = self._read_blocks(split, clips, workers)
                for number, block in enumerate(blocks, start=first // CLIPS_PER_BLOCK):
                    names_of_block = names[number * CLIPS_PER_BLOCK :][:CLIPS_PER_BLOCK]
                    self._append(files, names_of_block, block)
                    done |= {role: file.end_block() for role, file in files.items()}
                    write_text_atomic(self._progress, json.dumps({k: v.model_dump() for k, v in done.items()}))
                    progress.update(len(names_of_block))
            done["sources"] = self._write_sources()
        except BaseException:
            for file in files.values():
                file.close()
            raise
        for file in files.values():
            file.close(sync=True)
        index = PackIndex(header=self._header, files=done)
        write_text_atomic(self._folder / INDEX_NAME, index.model_dump_json(indent=1) + "\n")
        self._tidy(index)
        return index

    def _read_progress(self) -> dict[str, PackedFile]:
        """Return the complete blocks of an interrupted packing; none if there are no such blocks."""
        empty = {
            role: PackedFile(name=name, ends=[], checksums=[])
            for role, name in self._names.items()
            if role != "sources"
        }
        try:
            content = json.loads(self._progress.read_text(encoding="utf-8"))
            done = {role: PackedFile.model_validate(content[role]) for role in empty}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return empty
        whole = all(
            file.name == empty[role].name
            and (self._folder / file.name).is_file()
            and (self._folder / file.name).stat().st_size >= file.size
            for role, file in done.items()
        )
        return done if whole else empty

    def _read_blocks(
        self, split: Split, clips: list[tuple[str, ClipFacts]], workers: int
    ) -> Iterator[list[PackedClips]]:
        """Read the clips in order and yield them in blocks of `CLIPS_PER_BLOCK`, the last one shorter."""
        size = sum(array.max_entries * array.entry_bytes for array in self._header.arrays.values())
        step = 1 << max(0, min(CLIPS_PER_BLOCK, CHUNK_BYTES // max(size, 1)).bit_length() - 1)
        inputs = tuple(self._header.arrays)
        tasks = (PackTask(split, inputs, clips[start : start + step]) for start in range(0, len(clips), step))
        block: list[PackedClips] = []
        for chunk in read_chunks(tasks, workers):
            block.append(chunk)
            if sum(len(part.facts) for part in block) == CLIPS_PER_BLOCK:
                yield block
                block = []
        if block:
            yield block

    def _append(self, files: dict[str, AppendedFile], names: list[str], block: list[PackedClips]) -> None:
        text = io.StringIO()
        facts = [clip for chunk in block for clip in chunk.facts]
        csv.writer(text, lineterminator="\n").writerows(
            [name, clip.status, clip.reason, clip.duration_s, clip.n_frames, clip.fps, int(clip.has_audio)]
            for name, clip in zip(names, facts, strict=True)
        )
        files["clips"].write(text.getvalue().encode())
        for name in self._header.arrays:
            for chunk in block:
                files[name].write(chunk.entries[name])
                files[f"{name}.counts"].write(np.array(chunk.counts[name], np.int32).tobytes())

    def _write_sources(self) -> PackedFile:
        path = self._folder / self._names["sources"]
        file = AppendedFile(path, PackedFile(name=path.name, ends=[], checksums=[]))
        file.write(self._states.tobytes())
        done = file.end_block()
        file.close(sync=True)
        return done

    def _tidy(self, index: PackIndex) -> None:
        """Remove the progress file and the files of older packs. Readers that have them open keep them."""
        kept = {file.name for file in index.files.values()} | {INDEX_NAME, LOCK_NAME}
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)
