"""Stored features of hostile folders: files that run code or expand to gigabytes are unreadable, and nothing is raised."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataset.extraction_worker import ExtractionTask, extract_to_store
from dataset.fingerprints import FingerprintTable
from dataset.fingerprints.fingerprint_table import FINGERPRINT_VERSION
from engine.leakage import load_covariance
from tests.fuzz.archives import jpg_of_declared_size, npy_of_declared_shape, npy_with_pickle, npz_bomb
from tests.support import WITH_FACE, write_head
from utils.features.clip import ClipFacts
from utils.features.store import FeatureStore


def npz_of_bytes(*names: str, intact: dict[str, np.ndarray] | None = None) -> bytes:
    """Return an `.npz` file with parts that are no arrays, after the intact ones."""
    target = io.BytesIO()
    np.savez(target, **(intact or {}))
    with zipfile.ZipFile(target, "a") as archive:
        for name in names or ("pairs", "mouth", "start_s", "motion"):
            archive.writestr(f"{name}.npy", b"no array")
    return target.getvalue()


BOMBS = {
    "covariance": [
        npy_of_declared_shape((1 << 40,)),
        npy_of_declared_shape((60_000, 60_000)),
        npy_of_declared_shape((-5, 7)),
        npy_with_pickle(),
        npz_bomb(("covariance",), blocks=2),
    ],
    "mel": [jpg_of_declared_size(60_000), jpg_of_declared_size(512)],
    "face": [
        npz_of_bytes(),
        npz_bomb(blocks=2),
        npy_with_pickle(),
        npy_of_declared_shape((1 << 40,)),
        b"PK\x05\x06" + bytes(18),
    ],
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("features")
    store = FeatureStore(folder / "trainset_raw", WITH_FACE)
    store.root.mkdir()
    store.write_config()
    outputs = {feature.name: store.path(feature.name, "a.mp4") for feature in store.stored_features()}
    clip = write_head(folder / "a.mp4", frames=30)
    row = extract_to_store(ExtractionTask("a.mp4", clip, outputs, store.root, folder / "journal", store, None))
    assert row.facts.status == "ok"
    return store


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Allow this process 0.5 GB more than it uses."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    status = Path("/proc/self/status")
    used = int(status.read_text().partition("VmData:")[2].split()[0]) << 10 if status.is_file() else 0
    resource.setrlimit(resource.RLIMIT_DATA, (used + 500_000_000 if used else soft, hard))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@pytest.mark.parametrize("feature", BOMBS)
def test_feature_bombs_are_unreadable(stored, little_memory, tmp_path: Path, monkeypatch, feature: str) -> None:
    monkeypatch.chdir(tmp_path)
    facts = ClipFacts("ok", "", 1.2, 30, 25.0, True)
    assert stored.load("a.mp4", facts).facts == facts
    path = stored.path(feature, "a.mp4")
    whole = path.read_bytes()
    for bomb in BOMBS[feature]:
        path.write_bytes(bomb)
        assert stored.load("a.mp4", facts).facts.reason == "unreadable", bomb[:60]
    os.truncate(path, 1 << 40)
    assert stored.load("a.mp4", facts).facts.reason == "unreadable"
    path.write_bytes(whole)
    assert list(tmp_path.iterdir()) == [], "code in a file was run"


def test_a_compressed_fingerprint_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(npz_bomb(("version", "names", "frames"), blocks=2))
    assert FingerprintTable.load(tmp_path / "a.npz") is None


def test_a_fingerprint_table_with_parts_that_are_no_arrays_is_refused(tmp_path: Path) -> None:
    names = [name for name in FingerprintTable.__dataclass_fields__ if name != "stamps"]
    intact = {"version": np.array(FINGERPRINT_VERSION), "stamps": np.zeros((0, 2), np.int64)}
    (tmp_path / "a.npz").write_bytes(npz_of_bytes(*names, intact=intact))
    assert FingerprintTable.load(tmp_path / "a.npz") is None


def test_arrays_whose_headers_are_no_python_text_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array(FINGERPRINT_VERSION))
    array = file.getvalue().replace(b"}     ", b"}\n  `(")
    assert len(array) == len(file.getvalue()) and array != file.getvalue()
    (tmp_path / "a.npy").write_bytes(array)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("version.npy", array)
    assert FingerprintTable.load(tmp_path / "a.npz") is None
    assert load_covariance(tmp_path / "a.npy") is None
