"""Label files: the resulting table, and one sentence for each kind of error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset.labels import label_path, read_evaluation_labels, read_labels
from utils.errors import UsageError


@pytest.fixture
def write(tmp_path: Path):
    def write(content: str | bytes, name: str = "labels.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def refusal(path: Path, **options: bool) -> str:
    with pytest.raises(UsageError) as caught:
        read_labels(path, **options)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def test_rows_keep_the_order_of_the_file_and_its_other_columns(write) -> None:
    table = read_labels(write("target,type,video_name\n1,swap,b.mp4\n0,,a/b c.mp4\n"))
    assert list(table.columns) == ["video_name", "target", "type"]
    assert table["video_name"].tolist() == ["b.mp4", "a/b c.mp4"]
    assert table["target"].tolist() == [1.0, 0.0] and table["type"].tolist() == ["swap", ""]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffvideo_name,target\na.mp4,1\nb.mp4,0\n",
        "video_name,target\r\na.mp4,1\r\nb.mp4,0\r\n",
        "video_name,target\na.mp4,1\nb.mp4,0",
        "video_name, target\n a.mp4 , 1\nb.mp4, 0 \n",
        'video_name,target\n"a.mp4","1"\n"b.mp4",0\n',
        "video_name,target\na.mp4,1\n\nb.mp4,0\n\n",
        "video_name,target\na.mp4,1.0\nb.mp4,0.0\n",
    ],
    ids=["bom", "crlf", "no last newline", "spaces", "quotes", "blank lines", "floats"],
)
def test_equivalent_files_give_the_same_table(write, content: str) -> None:
    table = read_labels(write(content), need_targets=True)
    assert table["video_name"].tolist() == ["a.mp4", "b.mp4"] and table["target"].tolist() == [1.0, 0.0]


def test_names_may_contain_commas_quotes_and_words_like_nan(write) -> None:
    table = read_labels(write('video_name,target\n"a, b.mp4",1\n"say ""hi"".mp4",0\nnan,1\nNA,0\nnull,1\n'))
    assert table["video_name"].tolist() == ["a, b.mp4", 'say "hi".mp4', "nan", "NA", "null"]


@pytest.mark.parametrize(
    "content",
    [
        "video_name\na.mp4\nb.mp4\n",
        "video_name,target\na.mp4,\nb.mp4,\n",
        "video_name,target\na.mp4\nb.mp4\n",
        "video_name,target\na.mp4,-1\nb.mp4,-1\n",
        "video_name,target\na.mp4,0.5\nb.mp4,0.5\n",
        "video_name,target\na.mp4,?\nb.mp4,?\n",
    ],
    ids=["no column", "empty", "no cell", "-1", "0.5", "?"],
)
def test_missing_and_placeholder_targets_are_unknown_and_rejected_if_required(write, content: str) -> None:
    path = write(content)
    assert np.isnan(read_labels(path)["target"]).all()
    assert "'a.mp4' has none" in refusal(path, need_targets=True)


def test_some_targets_may_be_missing_if_none_are_required(write) -> None:
    path = write("video_name,target\na.mp4,1\nb.mp4\nc.mp4,\n")
    assert read_labels(path)["target"].isna().tolist() == [False, True, True]
    assert "'b.mp4' has none" in refusal(path, need_targets=True)


@pytest.mark.parametrize("target", ["2", "-1", "0.5", "fake", "nan", "inf", "1e0x"])
def test_targets_other_than_0_and_1_are_rejected_with_their_row(write, target: str) -> None:
    message = refusal(write(f"video_name,target\na.mp4,1\nb.mp4,{target}\n"))
    assert f"row 3: target {target!r} of 'b.mp4' is neither 0 nor 1" in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("video_name,target\n", "a header but no clip"),
        ("a.mp4,1\nb.mp4,0\n", "no header"),
        ("name;target\na.mp4;1\n", "no header"),
        ("video_name,video_name,target\na,b,1\n", ""),
        ("video_name,video_name ,target\na,b,1\n", "names a column twice"),
        ("video_name,target\na.mp4,1\n./a.mp4,0\n", "1 duplicate name(s), the first is './a.mp4'"),
        ("video_name,target\nx/a.mp4,1\nx//a.mp4,0\n", "1 duplicate name(s), the first is 'x//a.mp4'"),
        ("video_name,target\na.mp4,1\nb.mp4,0,x\n", "not a comma-separated text file"),
        ("video_name,target\na.mp4,1,x\nb.mp4,0,x\n", "more cells than the header"),
        ("video_name,target\na.mp4,1\nb.mp4,0\na.mp4,1\na.mp4,0\n", "2 duplicate name(s), the first is 'a.mp4'"),
        (b"video_name,target\nm\xfcller.mp4,1\n", "not a comma-separated text file"),
        ("video_name,target\na.mp4,1\n".encode("utf-16"), "not a comma-separated text file"),
        ('video_name,target\n"a.mp4,1\nb.mp4,0\n', "not a comma-separated text file"),
    ],
    ids=lambda value: None if isinstance(value, (str, bytes)) and len(value) < 40 else "case",
)
def test_files_that_are_not_label_files_are_rejected(write, content: str | bytes, expected: str) -> None:
    if not expected:
        assert read_labels(write(content))["video_name"].tolist() == ["a"]
    else:
        assert expected in refusal(write(content))


@pytest.mark.parametrize(
    "name",
    [
        "/abs/a.mp4",
        "../a.mp4",
        "sub/../../a.mp4",
        "C:\\a.mp4",
        "c:/a.mp4",
        "\\\\host\\a.mp4",
        "sub\\..\\a.mp4",
        ".",
        "./",
        '""',
    ],
)
def test_names_outside_the_data_root_are_rejected_with_their_row(write, name: str) -> None:
    message = refusal(write(f"video_name,target\na.mp4,1\n{name},0\n"))
    assert "row 3: the name" in message and "is refused: it" in message


def test_missing_file_and_folder_are_rejected(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "labels.txt")
    assert "is a folder" in refusal(tmp_path)


def test_binary_file_is_rejected(write) -> None:
    refusal(write(np.random.default_rng(0).bytes(3000)))


def test_txt_and_csv_suffixes_are_interchangeable(tmp_path: Path) -> None:
    assert label_path(tmp_path, "a.txt") == tmp_path / "a.txt"
    (tmp_path / "a.csv").touch()
    assert label_path(tmp_path, "a.txt") == tmp_path / "a.csv"
    (tmp_path / "a.txt").touch()
    assert label_path(tmp_path, "a.txt") == tmp_path / "a.txt"
    assert label_path(tmp_path, "b.tsv") == tmp_path / "b.tsv"


def test_evaluation_sample_is_balanced_and_repeatable(write) -> None:
    path = write("video_name,target\n" + "".join(f"{index:02}.mp4,{int(index % 5 == 0)}\n" for index in range(30)))
    sample = read_evaluation_labels(path, limit=8)
    assert sample["target"].value_counts().to_dict() == {0.0: 4, 1.0: 4}
    assert sample["video_name"].is_monotonic_increasing
    assert sample.equals(read_evaluation_labels(path, limit=8))
    assert len(read_evaluation_labels(path)) == 30


def test_name_and_kind_stand_for_video_name_and_type(write) -> None:
    labels = read_labels(write("name,target,kind\na.flac,1,tts\n"))
    assert list(labels.columns) == ["video_name", "target", "kind", "type"] and labels["type"].tolist() == ["tts"]
    both = read_labels(write("video_name,name,type,kind\na.flac,Ann,voice,tts\n"))
    assert both.loc[0, ["video_name", "name", "type", "kind"]].tolist() == ["a.flac", "Ann", "voice", "tts"]


def test_hostile_label_files_are_refused_with_one_short_sentence(tmp_path: Path) -> None:
    hostile = {
        "columns": (
            "video_name,target," + ",".join(["1"] * 300_000) + "\n" + "a.mp4,1\n",
            "300002 columns|columns; the",
        ),
        "long target": ("video_name,target\na.mp4," + "x" * 200_000 + "\nb.mp4,1\n", "neither 0 nor 1"),
        "long line": ("x" * 1_000_000, "no header|no clip"),
        "NUL": ("video_name,target\na\0b.mp4,1\n", "NUL"),
        "control characters": ("video_name,target\n/\x1b[2Ja.mp4,1\n", "absolute path"),
        "other encoding": ("video_name,target\na.mp4,1\n".encode("utf-16").decode("latin-1"), "."),
        "quote without end": ('video_name,target\n"a.mp4,1\n' + "b.mp4,1\n" * 1000, "."),
    }
    for kind, (text, message) in hostile.items():
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(UsageError, match=message) as caught:
            read_labels(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) <= 4000, kind
