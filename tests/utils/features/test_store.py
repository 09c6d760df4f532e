"""Reading of stored features: missing and damaged files are reported, and nothing is unpickled."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from utils.features.clip import ClipFacts
from utils.features.config import FeatureConfig
from utils.features.mel import encode_image
from utils.features.store import FeatureStore, files_below, flat_files, normal_name, normal_names, stem_of, stems_of

CONFIG = FeatureConfig.model_validate({"video": {"top_k": 4}})
OK = ClipFacts("ok", "", 1.0, 25, 25.0, True)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "trainset_raw", CONFIG)
    for path in (store.path("mel", "sub/a.mp4"), store.path("covariance", "sub/a.mp4")):
        path.parent.mkdir(parents=True)
    np.save(store.path("covariance", "sub/a.mp4"), np.eye(4, dtype=np.float32))
    store.path("mel", "sub/a.mp4").write_bytes(encode_image(np.full((256, 256), 90, np.uint8), 95))
    return store


def reason_of(store: FeatureStore) -> str:
    features = store.load("sub/a.mp4", OK)
    assert not features.values and features.facts.status == "failed"
    return features.facts.reason


def test_paths_are_those_of_the_contract(store: FeatureStore) -> None:
    assert store.path("mel", "a.mp4") == store.root / "audio_feature" / "a.mp4.jpg"
    assert store.path("covariance", "a.mp4") == store.root / "video_feature" / "a.mp4.npy"
    assert store.path("waveform", "a.mp4") == store.root / "wav_file" / "a.wav"
    assert store.path("waveform", "a.mp4", shared_stem=True) == store.root / "wav_file" / "a.mp4.wav"
    assert [stem_of(name) for name in ("a.b.mp4", "./s/a.mp4", "s//a", ".a")] == ["a.b", "s/a", "s/a", ".a"]


@pytest.mark.parametrize("names", [["a.b.mp4", "c.mp4"], ["a.mp4", ".b"], ["a", "b.mp4"], ["./s/a.mp4", "b.mp4"], []])
def test_lists_of_names_are_normalised_like_single_names(names):
    assert stems_of(names) == [stem_of(name) for name in names]
    assert normal_names(names) == [normal_name(name) for name in names]


def test_only_requested_features_are_loaded(store: FeatureStore) -> None:
    store.path("mel", "sub/a.mp4").unlink()
    assert store.load("sub/a.mp4", OK, ["covariance"]).values.keys() == {"covariance"}


def test_complete_features_are_read_back(store: FeatureStore) -> None:
    features = store.load("sub/a.mp4", OK)
    np.testing.assert_array_equal(features.values["covariance"], np.eye(4))
    assert features.values["mel"].startswith(b"\xff\xd8") and features.facts == OK


def test_a_row_without_a_modality_reads_none(store: FeatureStore) -> None:
    features = store.load("sub/a.mp4", ClipFacts("partial", "no_audio", 1.0, 25, 25.0, False))
    assert features.values["mel"] is None and features.values["covariance"] is not None
    assert store.load("sub/a.mp4", ClipFacts("failed", "timeout")).facts.reason == "timeout"


@pytest.mark.parametrize("kind", ["mel", "covariance"])
def test_an_absent_file_is_not_extracted(store: FeatureStore, kind: str) -> None:
    store.path(kind, "sub/a.mp4").unlink()
    assert reason_of(store) == "not_extracted"


class Bomb:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def damaged_arrays(path: Path) -> dict[str, bytes]:
    whole = path.read_bytes()
    np.save(path, np.eye(5, dtype=np.float32))
    other_size = path.read_bytes()
    np.save(path, np.eye(4))
    doubles = path.read_bytes()
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    objects = path.read_bytes()
    np.savez(path.with_suffix(".npz"), np.eye(4, dtype=np.float32))
    giant = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (4_000_000_000_000, 4)}
    np.lib.format.write_array_header_1_0(giant, header)
    return {
        "empty": b"",
        "cut": whole[:-8],
        "text": b"not an array",
        "pickle": pickle.dumps(Bomb()),
        "objects": objects,
        "other size": other_size,
        "doubles": doubles,
        "archive": path.with_suffix(".npz").read_bytes(),
        "giant": giant.getvalue(),
        "header": whole.replace(b"(4, 4)", b"(4, 4 "),
    }


@pytest.mark.parametrize(
    "kind", ["empty", "cut", "text", "pickle", "objects", "other size", "doubles", "archive", "giant", "header"]
)
def test_damaged_or_malicious_array_is_unreadable(store: FeatureStore, kind: str) -> None:
    path = store.path("covariance", "sub/a.mp4")
    content = damaged_arrays(path)[kind]
    path.write_bytes(content)
    assert reason_of(store) == "unreadable"


@pytest.mark.parametrize("content", [b"", b"\xff\xd8 and no end", b"a text"])
def test_a_damaged_image_is_unreadable(store: FeatureStore, content: bytes) -> None:
    store.path("mel", "sub/a.mp4").write_bytes(content)
    assert reason_of(store) == "unreadable"


def test_listed_names_match_the_label_file(store: FeatureStore) -> None:
    folder = store.root / "video_feature"
    (folder / ".hidden.mp4.npy").touch()
    (folder / ".writing-x.npy").touch()
    assert sorted(files_below(folder)) == [".hidden.mp4.npy", "sub/a.mp4.npy"]
    assert files_below(folder / "nowhere") == []


def test_only_folders_of_finished_files_are_listed_as_flat(tmp_path):
    folder = tmp_path / "video_feature"
    assert flat_files(folder, ".npy") is None
    folder.mkdir()
    for name in ("a.mp4.npy", ".hidden.mp4.npy"):
        (folder / name).touch()
    if folder.stat().st_nlink != 2:
        pytest.skip("the file system does not count sub-folders")
    assert sorted(flat_files(folder, ".npy")) == [".hidden.mp4.npy", "a.mp4.npy"]
    for other in (".writing-1.npy", "b.txt"):
        (folder / other).touch()
        assert flat_files(folder, ".npy") is None
        (folder / other).unlink()
    (folder / "sub.npy").mkdir()
    assert flat_files(folder, ".npy") is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_array_that_is_not_finite_is_unreadable(store: FeatureStore, value: float) -> None:
    np.save(store.path("covariance", "sub/a.mp4"), np.full((4, 4), value, np.float32))
    assert reason_of(store) == "unreadable"


def test_array_with_a_deeply_nested_header_is_unreadable(store: FeatureStore) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"-" * 4000 + b"4, 4)}"
    header = header.ljust(-(-(len(header) + 11) // 64) * 64 - 11) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
    with pytest.raises(RecursionError):
        np.load(io.BytesIO(content))
    path = store.path("covariance", "sub/a.mp4")
    path.write_bytes(content)
    assert reason_of(store) == "unreadable"


def test_array_of_another_layout_and_version_is_read(store: FeatureStore) -> None:
    path = store.path("covariance", "sub/a.mp4")
    matrix = np.asfortranarray(np.load(path))
    with open(path, "wb") as stream:
        np.lib.format.write_array(stream, matrix, version=(3, 0))
    np.testing.assert_array_equal(store.load("sub/a.mp4", OK).values["covariance"], matrix)
