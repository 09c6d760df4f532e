"""Content hashes of a checkpoint's training clips. Evaluation uses them to find clips that the detector was trained on.

The hash of a clip covers its size, 4 KiB at the start and 4 KiB in the middle, as in the leakage check (about 0.1 ms a clip).
Names are neither used nor stored. If a clip's file is missing, its stored covariance and mel-spectrogram image are hashed.
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
    """Return the hashes of the training clips to store in a checkpoint.

    Returns:
        The sorted, distinct 64-bit hashes of each kind, (N,) int64. A clip without a file is in `stored`, others in `files`.
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
    """Return a mask of the clips that have the content of a training clip.

    Args:
        trained_on: the hashes of a checkpoint.
        clips: the clips to evaluate.

    Returns:
        (N,) bool in label order, or `None` if the checkpoint has no hashes.
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
    """Return a 64-bit hash of the content of several files, or `None` if all of them are missing or empty."""
    parts = [probe(path) if file_size(path) else None for path in paths]
    if not any(parts):
        return None
    digest = hashlib.sha256(b"|".join(part or b"" for part in parts)).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
