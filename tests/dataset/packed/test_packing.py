"""Packing of splits: content, refusal of stale and damaged packs, interruption."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import dataset.packed.write as packing
from dataset.clips import CachedFeatures
from dataset.labels import read_labels
from dataset.packed.entries import PackedClips, PackTask
from dataset.packed.read import PackedFeatures
from dataset.packed.write import pack_split
from dataset.samples import InputLayout
from dataset.splits import Split
from engine.run import split_of
from tests.support import FEATURE_CONFIG, NO_AUDIO, NO_VIDEO, UNREADABLE, MadeClip, made_clips, tiny_config, write_split
from utils.errors import UsageError, WorkError

INPUTS = ("mel", "covariance")
ODD_CLIPS = [
    MadeClip("no audio.mp4", 1, NO_AUDIO),
    MadeClip("sub/no_video.mp4", 0, NO_VIDEO),
    MadeClip("unreadable.mp4", 1, UNREADABLE),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a data root whose training split has a clip of each kind."""
    write_split(tmp_path, "trainset", [*made_clips(5), *ODD_CLIPS])
    return tmp_path


def split_in(root: Path, **features: object) -> Split:
    config = FEATURE_CONFIG.model_copy(update=features)
    return split_of(tiny_config(root), "trainset", config)


def names_of(split: Split) -> list[str]:
    return read_labels(split.labels)["video_name"].tolist()


def opened(root: Path) -> PackedFeatures:
    split = split_in(root)
    return PackedFeatures(split, names_of(split))


def assert_equal_to_files(root: Path) -> None:
    """Compare every clip of the pack, gathered in another order, with the files that it was packed from."""
    split, packed = split_in(root), opened(root)
    names, source, layout = names_of(split), CachedFeatures(split), InputLayout(FEATURE_CONFIG, INPUTS)
    rows = np.random.default_rng(0).permutation(len(names))
    gathered = {name: packed.arrays[name].gather(rows) for name in INPUTS}
    facts = packed.facts(rows)
    for place, row in enumerate(rows):
        clip = source(names[row])
        assert facts[place] == clip.facts
        for name, expected in layout.arrays(clip).items():
            values, mask = gathered[name].values[place], gathered[name].mask[place]
            assert np.array_equal(mask, expected.mask)
            if name == "covariance":
                assert np.abs(values / 65535 - expected.values).max() <= 0.5 / 65535 + 1e-7
            else:
                assert np.array_equal(values, expected.values)


def test_a_pack_has_the_arrays_and_facts_of_the_files(root: Path) -> None:
    summary = pack_split(split_in(root), quiet=True)
    assert (summary.clips, summary.usable, summary.new) == (8, 7, True)
    assert_equal_to_files(root)
    assert not pack_split(split_in(root), quiet=True).new


def test_a_pack_is_used_without_the_files_that_it_was_made_from(root: Path) -> None:
    pack_split(split_in(root), quiet=True)
    for path in (root / "trainset_raw").iterdir():
        if path.name != "packed":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert opened(root).facts(np.array([7]))[0].reason == "unreadable"


def test_long_clips_of_a_pack_are_counted(root: Path) -> None:
    manifest = root / "trainset_raw" / "extraction.csv"
    rows = [line.split(",") for line in manifest.read_text().splitlines()]
    rows[3][3], rows[5][3] = "40.000", "12.500"
    manifest.write_text("".join(",".join(row) + "\n" for row in rows))
    pack_split(split_in(root), quiet=True)
    packed = opened(root)
    assert packed.longer_than(12.0, names_of(split_in(root))) == 2
    assert packed.longer_than(12.0, [rows[3][0]]) == 1


def pack_file(root: Path, prefix: str) -> Path:
    return next((root / "trainset_raw" / "packed").glob(f"{prefix}-*"))


def flip_a_bit(root: Path) -> None:
    path = pack_file(root, "mel")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_file(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped bit": (flip_a_bit, "checksum of the clips 0 to"),
    "truncated": (lambda root: os.truncate(pack_file(root, "covariance"), 100), "size"),
    "missing": (lambda root: pack_file(root, "clips").unlink(), "is missing"),
    "damaged index": (lambda root: change_file(pack_folder(root) / "index.json", lambda text: text[:-9]), "index.json is"),
    "damaged header": (
        lambda root: change_file(pack_folder(root) / "index.json", lambda text: text.replace(b'sources": "', b'sources": "f')),
        "index.json is damaged: header",
    ),
    "lost file": (
        lambda root: change_file(pack_folder(root) / "index.json", lambda text: text.replace(b'"mel.counts"', b'"mel"')),
        "index.json is damaged: header",
    ),
    "version": (
        lambda root: change_file(pack_folder(root) / "index.json", lambda text: text.replace(b'"version": 1', b'"version": 2')),
        "version: 2 packed, 1 needed",
    ),
    "label file": (
        lambda root: change_file(root / "trainset_label.txt", lambda text: text.replace(b"000.mp4,0", b"000.mp4,1")),
        "trainset_label.txt",
    ),
    "source file": (
        lambda root: os.utime(root / "trainset_raw" / "audio_feature" / "clip002.mp4.jpg", (1, 1)),
        "audio_feature of 'clip002.mp4'",
    ),
    "extraction": (
        lambda root: change_file(root / "trainset_raw" / "extraction.csv", lambda text: text.replace(b"d,un", b"d,xn")),
        "extraction.csv",
    ),
}  # fmt: skip


def pack_folder(root: Path) -> Path:
    return root / "trainset_raw" / "packed"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_or_stale_pack_is_refused_with_the_field_and_the_remedy(root: Path, fault: str) -> None:
    damage, field = FAULTS[fault]
    pack_split(split_in(root), quiet=True)
    opened(root)
    damage(root)
    with pytest.raises(UsageError) as refused:
        opened(root)
    assert field in str(refused.value)
    assert "utils/pack_features.py" in str(refused.value)
    assert pack_split(split_in(root), quiet=True).new
    assert_equal_to_files(root)


def test_other_settings_are_refused_with_the_field(root: Path) -> None:
    pack_split(split_in(root), quiet=True)
    smaller = split_in(root, video=FEATURE_CONFIG.video.model_copy(update={"top_k": 4}))
    with pytest.raises(UsageError, match=r"features\.video\.top_k: \d+ packed, 4 now"):
        PackedFeatures(smaller, names_of(smaller))
    more = split_in(root, voice=True)
    with pytest.raises(UsageError, match="does not contain the array voice"):
        PackedFeatures(more, names_of(more))


def test_an_interrupted_packing_continues_after_its_last_block(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "CLIPS_PER_BLOCK", 2)
    monkeypatch.setattr("dataset.packed.read.CLIPS_PER_BLOCK", 2)
    original, read = packing.read_chunks, []

    def counted(tasks: Iterable[PackTask], workers: int, stop_after: int = 100) -> Iterator[PackedClips]:
        for chunk in original(tasks, workers):
            read.append(chunk)
            if len(read) > stop_after:
                raise KeyboardInterrupt
            yield chunk

    monkeypatch.setattr(packing, "read_chunks", partial(counted, stop_after=3))
    with pytest.raises(KeyboardInterrupt):
        pack_split(split_in(root), quiet=True)
    with pytest.raises(UsageError, match="no packed features"):
        opened(root)
    # A killed process may leave part of a block.
    with open(pack_file(root, "mel"), "ab") as stream:
        stream.write(b"part of a block")
    read.clear()
    monkeypatch.setattr(packing, "read_chunks", counted)
    pack_split(split_in(root), quiet=True)
    assert len(read) < 4
    assert_equal_to_files(root)
    assert not list(pack_folder(root).glob("progress*"))


def test_values_outside_the_fixed_point_range_are_refused(root: Path) -> None:
    np.save(root / "trainset_raw" / "video_feature" / "clip003.mp4.npy", np.full((16, 16), 1.5, np.float32))
    with pytest.raises(WorkError, match=r"clip003\.mp4: the array covariance has values outside"):
        pack_split(split_in(root), quiet=True)
