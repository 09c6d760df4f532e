"""Packs whose checksums and names are right, but whose content is not that of a pack: refused with one sentence."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataset.packed.index import PackedFile, PackIndex, file_names
from dataset.packed.write import pack_split
from tests.dataset.packed.test_packing import opened, pack_folder, split_in
from tests.support import made_clips, write_split
from utils.errors import UsageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_split(tmp_path, "trainset", made_clips(3))
    pack_split(split_in(tmp_path), quiet=True)
    return tmp_path


def read(root: Path) -> PackIndex:
    return PackIndex.model_validate_json((pack_folder(root) / "index.json").read_text())


def write(root: Path, index: PackIndex) -> None:
    """Write an index whose files have the names that belong to its header."""
    names = file_names(index.header)
    for role, file in index.files.items():
        if (pack_folder(root) / file.name).is_file() and role in names:
            (pack_folder(root) / file.name).rename(pack_folder(root) / names[role])
    files = {role: file.model_copy(update={"name": names.get(role, file.name)}) for role, file in index.files.items()}
    (pack_folder(root) / "index.json").write_text(index.model_copy(update={"files": files}).model_dump_json())


def replace(root: Path, role: str, content: bytes) -> None:
    """Replace a packed file and its checksum."""
    index = read(root)
    name = index.files[role].name
    (pack_folder(root) / name).write_bytes(content)
    index.files[role] = PackedFile(name=name, ends=[len(content)], checksums=[zlib.crc32(content)])
    write(root, index)


def counts(*values: int) -> Callable[[Path], None]:
    return lambda root: replace(root, "covariance.counts", np.array(values, np.int32).tobytes())


def change_array(**fields: object) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        index = read(root)
        index.header.arrays["covariance"] = index.header.arrays["covariance"].model_copy(update=fields)
        write(root, index)

    return change


def change_file(**fields: object) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        index = read(root)
        index.files["mel"] = index.files["mel"].model_copy(update=fields)
        write(root, index)

    return change


def foreign_array(root: Path) -> None:
    index = read(root)
    name = "../../elsewhere"
    index.header.arrays[name] = index.header.arrays["mel"]
    empty = {role: PackedFile(name="", ends=[], checksums=[]) for role in (name, f"{name}.counts")}
    write(root, index.model_copy(update={"files": {**index.files, **empty}}))


def file_elsewhere(root: Path) -> None:
    text = (pack_folder(root) / "index.json").read_text()
    (pack_folder(root) / "index.json").write_text(text.replace('"name": "mel-', '"name": "../mel-'))


def repeated_entry(root: Path) -> None:
    text = (pack_folder(root) / "index.json").read_text()
    (pack_folder(root) / "index.json").write_text(
        text.replace('"mel": {', '"mel": 1, "mel": [], "mel": 0, "covariance": {', 1)
    )


PACKS: dict[str, Callable[[Path], object]] = {
    "negative count": counts(-1, 1, 3),
    "too many entries per clip": counts(3, 0, 0),
    "entries behind the file": counts(1, 1, 2**31 - 1),
    "counts of fewer clips": counts(1, 1),
    "counts of more clips": counts(1, 1, 1, 0),
    "entries cut": lambda root: replace(root, "covariance", b"\0" * 6),
    "entries extended": lambda root: replace(root, "covariance", b"\0" * 100_000),
    "huge shape": change_array(shape=(10**12,)),
    "negative shape": change_array(shape=(-1, 16)),
    "objects": change_array(stored="|O"),
    "no type": change_array(stored="no type"),
    "block without a checksum": change_file(checksums=[]),
    "descending blocks": change_file(ends=[10**15, 10], checksums=[0, 0]),
    "negative block": change_file(ends=[-5], checksums=[0]),
    "unknown array": foreign_array,
    "file elsewhere": file_elsewhere,
    "repeated entry": repeated_entry,
    "not a table": lambda root: replace(root, "clips", b"a,b,c,d,e,f,g\n" * 3),
    "nested": lambda root: (pack_folder(root) / "index.json").write_text("[" * 100_000),
}  # fmt: skip


@pytest.mark.parametrize("kind", PACKS)
def test_hostile_pack_is_refused_and_packed_again(root: Path, kind: str) -> None:
    PACKS[kind](root)
    with pytest.raises(UsageError, match="utils/pack_features.py") as refused:
        opened(root)
    assert "\n" not in str(refused.value)
    assert pack_split(split_in(root), quiet=True).clips == 3
    opened(root)


def test_damaged_record_of_compared_files_is_ignored(root: Path) -> None:
    (pack_folder(root) / "verified.json").write_text("[" * 100_000)
    opened(root)
