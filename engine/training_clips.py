"""Hashes of a checkpoint's training clips, by which evaluation finds clips that the detector was trained on.

A clip is hashed as the leakage check does: its size, 4 KiB at the start and 4 KiB in the middle, about 0.1 ms a clip. Names are
not used and not stored. A clip whose file is absent is hashed by its stored covariance and mel-spectrogram image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from dataset.clips import ClipTable
from dataset.equal_files import file_size, probe

FILES, STORED = "files", "stored"
"""Kinds of hashes: of clip files, and of stored features."""


def training_hashes(clips: ClipTable) -> dict[str, torch.Tensor]:
    """Return the hashes that a checkpoint stores of its training clips.

    Returns:
        By kind the sorted, distinct 64-bit hashes, (N,) int64. A clip is in `files`, or in `stored` if its file is absent.
    """
    found: dict[str, list[int]] = {FILES: [], STORED: []}
    for name in clips.names:
        kind, value = FILES, file_hash(clips, name)
        if value is None:
            kind, value = STORED, stored_hash(clips, name)
        if value is not None:
            found[kind].append(value)
    return {kind: torch.from_numpy(np.unique(np.array(values, np.int64))) for kind, values in found.items()}


def seen_in_training(trained_on: Mapping[str, torch.Tensor] | None, clips: ClipTable) -> np.ndarray | None:
    """Return which clips have the content of a training clip.

    Args:
        trained_on: the hashes of a checkpoint.
        clips: the clips to evaluate.

    Returns:
        (N,) bool in the order of the labels, or `None` where the checkpoint has no hashes.
    """
    if trained_on is None:
        return None
    seen = np.zeros(len(clips.names), bool)
    for kind, hash_of in ((FILES, file_hash), (STORED, stored_hash)):
        known = trained_on.get(kind)
        if known is not None and len(known):
            members = set(known.tolist())
            seen |= np.array([hash_of(clips, name) in members for name in clips.names], bool)
    return seen


def file_hash(clips: ClipTable, name: str) -> int | None:
    """Return the hash of a clip's file, or `None` if it cannot be read."""
    return content_hash([clips.split.video_path(name)])


def stored_hash(clips: ClipTable, name: str) -> int | None:
    """Return the hash of a clip's stored covariance and mel-spectrogram image, or `None` if it has neither."""
    store = clips.split.store
    return content_hash([store.path("covariance", name), store.path("mel", name)])


def content_hash(paths: Iterable[Path]) -> int | None:
    """Return a 64-bit hash of several files' content, or `None` if all of them are absent or empty."""
    parts = [probe(path) if file_size(path) else None for path in paths]
    if not any(parts):
        return None
    digest = hashlib.sha256(b"|".join(part or b"" for part in parts)).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
