"""The label table of imported clips: splits, duplicates, file locations, columns."""

from __future__ import annotations

import json

import pytest

from dataset.importers import IMPORTERS, Imported, find_importer, import_labels, write_labels
from dataset.importers.imported_clip import ImportedClip
from dataset.importers.reading import clean_name
from dataset.labels import read_labels
from utils.errors import UsageError

FAKE = ImportedClip("a/x.mp4", 1, type="swap", source="s", identity="p", spans=((0.5, 1.0),), split="train")
REAL = ImportedClip("a/y.mp4", 0, type="real", source="s", identity="p", spans=(), split="val")


def test_written_table_is_a_valid_label_file(tmp_path):
    table = import_labels(Imported([FAKE, REAL, ImportedClip("z.mp4", None)]))
    assert list(table) == ["video_name", "target", "type", "source", "identity", "spans", "split"]
    write_labels(tmp_path / "labels.csv", table)
    labels = read_labels(tmp_path / "labels.csv")
    assert labels["target"].tolist()[:2] == [1.0, 0.0] and labels["target"].isna().tolist() == [False, False, True]
    assert labels["spans"].tolist() == ["[[0.5, 1.0]]", "[]", ""]
    assert json.loads(labels["spans"][0]) == [[0.5, 1.0]]


def test_split_is_selected_or_rejected():
    assert import_labels(Imported([FAKE, REAL]), split="val")["video_name"].tolist() == ["a/y.mp4"]
    with pytest.raises(UsageError, match="this metadata has only train, val"):
        import_labels(Imported([FAKE, REAL]), split="test")
    with pytest.raises(UsageError, match="no official split; utils/make_splits"):
        import_labels(Imported([ImportedClip("a.mp4", 1)]), split="test")
    with pytest.raises(UsageError, match="contains no clips"):
        import_labels(Imported([]))


def test_duplicates_are_merged():
    twice = [ImportedClip("a.mp4", 1, type=kind, generator=kind) for kind in ("faceswap-wav2lip", "wav2lip", "wav2lip")]
    imported = Imported([*twice, ImportedClip("b.mp4", 0)])
    table = import_labels(imported)
    assert table["video_name"].tolist() == ["a.mp4", "b.mp4"]
    assert table["type"][0] == table["generator"][0] == "faceswap-wav2lip|wav2lip"
    assert imported.notes == [
        "2 clip(s) are listed more than once; duplicates were merged, different types joined with |"
    ]
    with pytest.raises(UsageError, match=r"'a\.mp4' is listed both as real and as fake"):
        import_labels(Imported([*twice, ImportedClip("a.mp4", 0)]))


def test_clips_are_found_in_sub_folders(tmp_path):
    for name in ("a/x.mp4", "dfl/aa/here.mp4", "one/two.mp4", "other/two.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = ["a/x.mp4", "here.mp4", "two.mp4", "gone.mp4"]
    imported = Imported([ImportedClip(name, 1) for name in names])
    table = import_labels(imported, video_dir=tmp_path)
    assert table["video_name"].tolist() == ["a/x.mp4", "dfl/aa/here.mp4", "two.mp4", "gone.mp4"]
    assert "1 ambiguous, 1 missing" in imported.notes[0]
    with pytest.raises(UsageError, match="--video_dir: no such folder"):
        import_labels(imported, video_dir=tmp_path / "none")


@pytest.mark.parametrize(("text", "name"), [(r"a\b c.mp4", "a/b c.mp4"), ("./a//b.mp4", "a/b.mp4"), ("a.mp4", "a.mp4")])
def test_names_are_normalised(text, name):
    assert clean_name(text, "here") == name


@pytest.mark.parametrize("text", ["/a.mp4", "C:\\a.mp4", "../a.mp4", "a/../b.mp4", "", "a/\0.mp4"])
def test_names_outside_the_folder_are_rejected(text):
    with pytest.raises(UsageError, match=r"^here: the name .* is refused"):
        clean_name(text, "here")


def test_importer_names_are_case_insensitive():
    assert find_importer("fakeavceleb") is IMPORTERS["FakeAVCeleb"]
    with pytest.raises(UsageError, match=r"unknown data set 'Celeb'.*KoDF"):
        find_importer("Celeb")
