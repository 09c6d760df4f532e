"""Merging label files: columns, names, links, and values that occur in several sets."""

from __future__ import annotations

import pandas as pd
import pytest

from dataset.label_merge import merge_labels
from utils.errors import UsageError


def write_set(folder, rows, clips="clips"):
    """Write `labels.csv` from rows with a header, and an empty file per clip."""
    place = folder / clips if clips else folder
    place.mkdir(parents=True, exist_ok=True)
    for row in rows[1:]:
        (place / row.split(",")[0]).touch()
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder / "labels.csv"


@pytest.fixture
def videos(tmp_path):
    return write_set(
        tmp_path / "videos",
        ["video_name,target,type,source,person,pair,fold", "a.mp4,0,real,S1,P1,,0", "b.mp4,1,lipsync,S1,P1,,0"],
    )


@pytest.fixture
def voices(tmp_path):
    rows = [
        "name,target,kind,source,pair,content_group,fold",
        "a.flac,0,real,V1,U1,G1,0",
        "b.flac,1,tts,S1,videos:b,G1,0",
    ]
    return write_set(tmp_path / "voices", rows)


def test_merged_table_has_all_columns_and_paths_below_the_output_folder(videos, voices, tmp_path):
    output = tmp_path / "data" / "labels.csv"
    table = merge_labels([videos, voices], output).table
    assert table["video_name"].tolist() == ["videos/a.mp4", "videos/b.mp4", "voices/a.flac", "voices/b.flac"]
    assert table["target"].tolist() == ["0", "1", "0", "1"] and table["type"].tolist()[2:] == ["real", "tts"]
    assert "kind" not in table and table["person"].tolist() == ["P1", "P1", "", ""] and set(table["fold"]) == {"0"}
    assert all((output.parent / name).is_file() for name in table["video_name"])
    assert (output.parent / "voices").is_symlink()


def test_modality_of_audio_files_follows_from_the_target(videos, voices, tmp_path):
    merged = merge_labels([videos, voices], tmp_path / "data" / "labels.csv")
    assert merged.table["modality"].tolist() == ["", "", "RVRA", "RVFA"]
    assert any("the modality of 1 fake(s) is unknown" in note for note in merged.notes)


def test_sources_of_several_sets_are_prefixed_unless_kept(videos, voices, tmp_path):
    merged = merge_labels([videos, voices], tmp_path / "data" / "labels.csv")
    assert merged.table["source"].tolist() == ["videos:S1", "videos:S1", "V1", "voices:S1"]
    assert any("--sources keep" in note for note in merged.notes)
    kept = merge_labels([videos, voices], tmp_path / "data" / "labels.csv", prefix_sources=False)
    assert kept.table["source"].tolist() == ["S1", "S1", "V1", "S1"]


def test_pair_that_names_a_clip_of_another_set_is_copied_to_it(videos, voices, tmp_path):
    table = merge_labels([videos, voices], tmp_path / "data" / "labels.csv").table
    assert table["pair"].tolist() == ["", "videos:b", "U1", "videos:b"]


def test_fold_is_left_out_if_a_set_has_none(videos, tmp_path):
    other = write_set(tmp_path / "other", ["video_name,target", "c.mp4,0"])
    merged = merge_labels([videos, other], tmp_path / "data" / "labels.csv")
    assert "fold" not in merged.table and any(note.startswith("other: ") for note in merged.notes)


def test_recording_in_two_folds_is_noted(voices, tmp_path):
    other = write_set(tmp_path / "other", ["name,target,content_group,fold", "c.wav,0,G1,1"])
    merged = merge_labels([voices, other], tmp_path / "data" / "labels.csv")
    assert any("content_group=G1 are in 2 folds" in note for note in merged.notes)
    assert any("content_group occur in several sets" in note for note in merged.notes)


def test_clips_are_found_next_to_the_labels_or_in_a_given_folder(videos, tmp_path):
    flat = write_set(tmp_path / "flat", ["video_name,target", "c.mp4,0"], clips="")
    away = write_set(tmp_path / "away", ["video_name,target", "d.mp4,0", "e.mp4,1"], clips="../elsewhere")
    with pytest.raises(UsageError, match="none of its 2 clips is in"):
        merge_labels([flat, away], tmp_path / "data" / "labels.csv")
    (tmp_path / "elsewhere" / "e.mp4").unlink()
    merged = merge_labels([flat, away], tmp_path / "data" / "labels.csv", clips=[tmp_path / "elsewhere"])
    assert merged.table["video_name"].tolist() == ["flat/c.mp4", "away/d.mp4", "away/e.mp4"]
    assert any("1 of 2 clips are not in" in note and "e.mp4" in note for note in merged.notes)


def test_clips_below_the_output_folder_need_no_link(videos, voices, tmp_path):
    table = merge_labels([videos, voices], tmp_path / "labels.csv").table
    assert table["video_name"][0] == "videos/clips/a.mp4" and (tmp_path / table["video_name"][0]).is_file()


def test_sets_with_equal_folder_names_get_different_links(tmp_path):
    files = [write_set(tmp_path / parent / "part", ["name,target", "a.wav,0"]) for parent in "xyz"]
    table = merge_labels(files, tmp_path / "data" / "labels.csv").table
    assert table["video_name"].tolist() == ["part/a.wav", "part-2/a.wav", "part-3/a.wav"]


def test_foreign_file_is_never_replaced_and_own_link_is_reused(videos, voices, tmp_path):
    data = tmp_path / "data"
    merge_labels([videos, voices], data / "labels.csv")
    merge_labels([videos, voices], data / "labels.csv")
    (data / "voices").unlink()
    (data / "voices").write_text("mine")
    (data / "videos").unlink()
    with pytest.raises(UsageError, match="is another file or folder"):
        merge_labels([videos, voices], data / "labels.csv")
    assert (data / "voices").read_text() == "mine" and not (data / "videos").exists()
    (data / "voices").unlink()
    (data / "voices").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="a link to another folder"):
        merge_labels([videos, voices], data / "labels.csv")


def test_input_is_not_overwritten(videos, voices):
    with pytest.raises(UsageError, match="--output is one of the label files"):
        merge_labels([videos, voices], videos)


def test_targets_may_be_missing(videos, tmp_path):
    other = write_set(tmp_path / "other", ["video_name", "c.mp4"])
    table = merge_labels([videos, other], tmp_path / "data" / "labels.csv").table
    assert isinstance(table, pd.DataFrame) and table["target"].tolist() == ["0", "1", ""]
