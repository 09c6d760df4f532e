"""Fingerprints of many clips in flat arrays, computed in worker processes and cached in one file."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset.fingerprints.fingerprint import Fingerprint, fingerprint_clip
from dataset.workers import default_workers, run_in_workers
from utils.files import DAMAGED_ARRAY, atomic_path, is_plain_archive

FINGERPRINT_VERSION = 1
"""Increase this when fingerprints or search results change for the same clips. It invalidates existing caches."""


@dataclass(frozen=True)
class FingerprintTable:
    """Fingerprints of N clips.

    Attributes:
        names: N clip names.
        frames: (F, 4) uint64, the concatenated frame hashes of all clips.
        frame_starts: (N + 1,) int64; clip i owns `frames[frame_starts[i]:frame_starts[i + 1]]`.
        audio: (A,) uint32, the concatenated audio sub-fingerprints of all clips.
        audio_starts: (N + 1,) int64, as above.
        reasons: (N,) str, reason code of clips without a fingerprint; empty otherwise.
        stamps: (N, 2) int64, file size in bytes and modification time in ns; -1 for missing files.
    """

    names: list[str]
    frames: np.ndarray
    frame_starts: np.ndarray
    audio: np.ndarray
    audio_starts: np.ndarray
    reasons: np.ndarray
    stamps: np.ndarray

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.names)

    def __getitem__(self, row: int) -> Fingerprint:
        """Return the fingerprint of one clip as views of the arrays."""
        return Fingerprint(
            self.frames[self.frame_starts[row] : self.frame_starts[row + 1]],
            self.audio[self.audio_starts[row] : self.audio_starts[row + 1]],
            str(self.reasons[row]),
        )

    @classmethod
    def of(
        cls, names: Sequence[str], prints: Sequence[Fingerprint], stamps: np.ndarray | None = None
    ) -> FingerprintTable:
        """Build a table from single fingerprints."""
        empty = Fingerprint()
        return cls(
            list(names),
            np.concatenate([empty.frames, *(one.frames for one in prints)]),
            np.cumsum([0, *(len(one.frames) for one in prints)]),
            np.concatenate([empty.audio, *(one.audio for one in prints)]),
            np.cumsum([0, *(len(one.audio) for one in prints)]),
            np.array([one.reason for one in prints], str),
            np.full((len(names), 2), -1, np.int64) if stamps is None else stamps,
        )

    def joined(self, other: FingerprintTable) -> FingerprintTable:
        """Return a table of the clips of both tables, this table's first."""
        return FingerprintTable(
            self.names + other.names,
            np.concatenate([self.frames, other.frames]),
            np.concatenate([self.frame_starts, other.frame_starts[1:] + self.frame_starts[-1]]),
            np.concatenate([self.audio, other.audio]),
            np.concatenate([self.audio_starts, other.audio_starts[1:] + self.audio_starts[-1]]),
            np.concatenate([self.reasons, other.reasons]),
            np.concatenate([self.stamps, other.stamps]),
        )

    def digest(self) -> str:
        """Return a hash of the names and bits as 32 hex digits."""
        state = hashlib.blake2b(f"{FINGERPRINT_VERSION} {self.names}".encode(), digest_size=16)
        for array in (self.frame_starts, self.frames, self.audio_starts, self.audio):
            state.update(np.ascontiguousarray(array))  # type: ignore[arg-type]  # numpy's stubs hide that arrays are buffers
        return state.hexdigest()

    def save(self, path: Path) -> None:
        """Write the table atomically as an uncompressed .npz, about 1.5 KB per five-second clip."""
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            np.savez(
                stream,
                version=FINGERPRINT_VERSION,
                names=np.array(self.names, str),
                **{key: value for key, value in vars(self).items() if key != "names"},
            )

    @classmethod
    def load(cls, path: Path) -> FingerprintTable | None:
        """Read a table; return `None` if it is missing, damaged or of another version."""
        try:
            if not is_plain_archive(path):
                return None
            with np.load(path, allow_pickle=False) as stored:
                if int(stored["version"]) != FINGERPRINT_VERSION:
                    return None
                arrays = {key: stored[key] for key in cls.__dataclass_fields__}
            # numpy returns a part that is no array as bytes.
            if not all(isinstance(array, np.ndarray) and array.ndim for array in arrays.values()):
                return None
        except (*DAMAGED_ARRAY, KeyError, zipfile.BadZipFile):
            return None
        return cls(**{**arrays, "names": arrays["names"].tolist()})


def file_stamp(path: Path) -> tuple[int, int]:
    """Return file size in bytes and modification time in nanoseconds; (-1, -1) for a missing file."""
    try:
        facts = path.stat()
    except OSError:
        return -1, -1
    return facts.st_size, facts.st_mtime_ns


def fingerprint_clips(
    paths: Mapping[str, Path],
    cache: Path | None,
    *,
    function: Callable[[Path], Fingerprint] = fingerprint_clip,
    workers: int = 0,
    timeout_s: float = 1800.0,
    in_process: bool = False,
    quiet: bool = False,
) -> FingerprintTable:
    """Fingerprint many clips. Cached fingerprints of unchanged files are reused.

    Args:
        paths: clip name -> file to fingerprint.
        cache: .npz file that is read and updated, even after an interruption; `None` disables caching.
        function: computes one fingerprint; use a separate cache for each function.
        workers: number of processes; 0 means one per core.
        timeout_s: time limit per clip; a clip that exceeds it gets the reason `timeout`.
        in_process: compute in this process, without a time limit; only for a few trusted files.
        quiet: disable the progress bar.

    Returns:
        One row per name, in the order of `paths`.
    """
    stamps = {name: file_stamp(path) for name, path in paths.items()}
    prints = reusable(cache, stamps)
    waiting = [name for name in paths if name not in prints]
    for name in [name for name in waiting if stamps[name][0] < 0]:
        prints[name] = Fingerprint(reason="missing_file")
    waiting = [name for name in waiting if name not in prints]

    def table() -> FingerprintTable:
        done = [name for name in paths if name in prints]
        rows = np.array([stamps[name] for name in done], np.int64).reshape(-1, 2)
        return FingerprintTable.of(done, [prints[name] for name in done], rows)

    if not waiting:
        return table()
    try:
        tasks = [paths[name] for name in waiting]
        workers = min(workers or default_workers(), len(waiting))
        outcomes = (
            ((path, function(path), "") for path in tasks)
            if in_process
            else run_in_workers(function, tasks, workers=workers, timeout_s=timeout_s)
        )
        progress = tqdm(waiting, desc="fingerprints", unit="clip", disable=quiet, smoothing=0.05, dynamic_ncols=True)
        for name, (_, found, reason) in zip(progress, outcomes, strict=True):
            prints[name] = found if found is not None else Fingerprint(reason=reason)
    finally:
        finished = table()
        if cache is not None:
            finished.save(cache)
    return finished


def reusable(cache: Path | None, stamps: Mapping[str, tuple[int, int]]) -> dict[str, Fingerprint]:
    """Return the cached fingerprints of unchanged files. Failed clips are excluded and tried again."""
    stored = FingerprintTable.load(cache) if cache is not None else None
    if stored is None:
        return {}
    return {
        name: stored[row]
        for row, name in enumerate(stored.names)
        if tuple(stored.stamps[row].tolist()) == stamps.get(name) and not stored.reasons[row]
    }
