"""`index.json` of a packed split: what was packed from which files with which settings, and the checksums."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from utils.config import Section
from utils.errors import UsageError
from utils.features.base import FEATURES, ArraySpec, feature_classes, features_of, with_sources
from utils.features.config import FEATURE_VERSION, FeatureConfig, flatten

FOLDER, INDEX_NAME = "packed", "index.json"
PACK_VERSION = 1
CLIPS_PER_BLOCK = 1024
"""Clips per checksum, and per step of the packing that an interruption does not lose."""

FIXED_POINT_MAX = 65535
REPACK = "run `python utils/pack_features.py` again"


class ArrayHeader(Section):
    """One packed array: its declaration (see `ArraySpec`), its type in the file, and the settings of its features."""

    shape: tuple[int, ...]
    dtype: str
    stored: str
    padded: bool
    settings: dict[str, Any]

    @property
    def entry_shape(self) -> tuple[int, ...]:
        """Shape of one entry in the file: a window or frame of a padded array, else the array of a clip."""
        return self.shape[1:] if self.padded else self.shape

    @property
    def max_entries(self) -> int:
        """Maximum number of entries per clip."""
        return self.shape[0] if self.padded else 1

    @property
    def entry_bytes(self) -> int:
        """Size of an entry in the file."""
        return int(np.prod(self.entry_shape, dtype=np.int64)) * np.dtype(self.stored).itemsize


class PackHeader(Section):
    """Everything that determines the content of the packed files. Two packs with equal headers are interchangeable.

    Attributes:
        version: version of this format.
        feature_version: `FEATURE_VERSION`.
        fingerprint: fingerprint of the feature config.
        clips: number of clips.
        labels: SHA-256 of the label file.
        extraction: hash of the rows of `extraction.csv`.
        sources: hash of names, sizes and times of the feature files.
        arrays: the packed arrays by name.
    """

    version: int = PACK_VERSION
    feature_version: int = FEATURE_VERSION
    fingerprint: str
    clips: int
    labels: str
    extraction: str
    sources: str
    arrays: dict[str, ArrayHeader]

    def identity(self) -> str:
        """Return a hash of the header, 12 hex digits. It is part of the file names."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class PackedFile(Section):
    """A packed file.

    Attributes:
        name: its name.
        ends: offset of the end of each block of `CLIPS_PER_BLOCK` clips, in bytes.
        checksums: CRC-32 of each block.
    """

    name: str
    ends: list[int]
    checksums: list[int]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.ends[-1] if self.ends else 0


class PackIndex(Section):
    """Content of `index.json`: the header and the files by role: `clips`, `sources`, `<array>` and `<array>.counts`."""

    header: PackHeader
    files: dict[str, PackedFile]

    def is_consistent(self) -> bool:
        """Return whether the files are those of this header, and possible.

        Their names contain a hash of the header and names of arrays. Blocks end at ascending offsets, each with a checksum.
        """
        known = {array for feature in feature_classes().values() for array in feature.inputs}
        return (
            self.header.arrays.keys() <= known
            and {role: file.name for role, file in self.files.items()} == file_names(self.header)
            and all(
                len(file.ends) == len(file.checksums)
                and file.ends == sorted(file.ends)
                and min(file.ends, default=0) >= 0
                for file in self.files.values()
            )
        )


def file_names(header: PackHeader) -> dict[str, str]:
    """Return the name of each file of a pack by role."""
    roles = ["clips", *header.arrays, *(f"{name}.counts" for name in header.arrays), "sources"]
    return {role: f"{role}-{header.identity()}.{'csv' if role == 'clips' else 'bin'}" for role in roles}


def array_header(spec: ArraySpec, config: FeatureConfig) -> ArrayHeader:
    """Return the header of an array for this config."""
    keys = [FEATURES.get(name).built_class.key for name in with_sources(features_of([spec.name]))]
    settings = {key: config.setting(key) for key in dict.fromkeys(keys)}
    plain = {
        key: value.model_dump(mode="json") if hasattr(value, "model_dump") else value for key, value in settings.items()
    }
    dtype = np.dtype(spec.dtype).str
    stored = np.dtype(np.uint16).str if spec.fixed_point else dtype
    return ArrayHeader(shape=spec.shape, dtype=dtype, stored=stored, padded=spec.padded, settings=plain)


def read_index(folder: Path) -> PackIndex | None:
    """Read `index.json`; return `None` if there is none.

    Raises:
        UsageError: it is damaged or of another version.
    """
    path = folder / INDEX_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["header"]["version"]
        if version != PACK_VERSION:
            raise UsageError(f"{path}: version: {version!r} packed, {PACK_VERSION!r} needed; {REPACK}")
        index = PackIndex.model_validate(content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
        raise UsageError(f"{path} is damaged: it is not an index of packed features; {REPACK}") from None
    if not index.is_consistent():
        raise UsageError(f"{path} is damaged: header: it is not that of the files; {REPACK}")
    return index


def require_arrays(index: PackIndex, wanted: dict[str, ArrayHeader], path: Path) -> None:
    """Check that arrays are packed with these declarations and settings.

    Raises:
        UsageError: an array is missing or has other settings; the message names the field.
    """
    if index.header.feature_version != FEATURE_VERSION:
        raise stale(path, "feature_version", index.header.feature_version, FEATURE_VERSION)
    for name, header in wanted.items():
        packed = index.header.arrays.get(name)
        if packed is None:
            raise UsageError(f"{path} does not contain the array {name}; {REPACK} with the config of this run")
        fields, now = flatten(packed.settings, "features."), flatten(header.settings, "features.")
        for key in sorted(fields.keys() | now.keys()):
            if fields.get(key) != now.get(key):
                raise stale(path, key, fields.get(key), now.get(key))
        for field in ("shape", "dtype", "stored", "padded"):
            if getattr(packed, field) != getattr(header, field):
                raise stale(path, f"{field} of {name}", getattr(packed, field), getattr(header, field))


def stale(path: Path, field: str, packed: object, now: object) -> UsageError:
    """Return the error of a pack whose `field` differs."""
    return UsageError(f"the packed features in {path} are stale: {field}: {packed!r} packed, {now!r} now; {REPACK}")
