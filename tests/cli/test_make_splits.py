"""`utils/make_splits.py`: files, output, and rejected arguments."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pandas as pd
import pytest

from tests.dataset.test_fingerprints import FAST, FPS, SOUND_HZ, scene, speech
from tests.support import REPOSITORY, one_sentence
from utils.command import run_command
from utils.make_splits import main
from utils.media.writer import write_clip


@pytest.fixture
def labels(tmp_path):
    kinds = [("real", ""), ("fake", "G1"), ("real", ""), ("fake", "G2"), ("real", ""), ("fake", "G0")] * 8
    rows = [
        f"{index:03d}.mp4,{int(kind == 'fake')},{kind},p{index // 4},{generator}"
        for index, (kind, generator) in enumerate(kinds)
    ]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["video_name,target,type,identity,generator", *rows]) + "\n")
    return path


def call(*argv):
    assert run_command(main, [str(word) for word in argv]) == 0


def test_folds_keep_the_groups_of_a_column_together(labels, tmp_path, capsys):
    output = tmp_path / "folds.csv"
    call("--labels", labels, "--by", "identity", "--folds", 4, "--output", output)
    table = pd.read_csv(output)
    assert table["video_name"].tolist() == pd.read_csv(labels)["video_name"].tolist()
    assert set(table["fold"]) == {0, 1, 2, 3} and (table.groupby("group")["fold"].nunique() == 1).all()
    assert (table.groupby("identity")["group"].nunique() == 1).all()
    printed = capsys.readouterr().out
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    assert f"sha256 {digest}" in printed and "48 clips in 12 groups" in printed
    assert (tmp_path / "folds.csv.sha256").read_text().startswith(digest)


def test_clips_of_one_recording_are_kept_together_without_a_request(labels, tmp_path, capsys):
    table = pd.read_csv(labels)
    table.assign(content_group=[f"r{row % 24}" for row in range(len(table))]).to_csv(labels, index=False)
    call("--labels", labels, "--by", "identity", "--folds", 2, "--output", tmp_path / "folds.csv")
    assert pd.read_csv(tmp_path / "folds.csv").groupby("content_group")["fold"].nunique().eq(1).all()
    assert "kept together: content_group" in capsys.readouterr().out


def test_hash_depends_on_the_seed_only(labels, tmp_path):
    for name, seed in (("a.csv", 1), ("b.csv", 1), ("c.csv", 2)):
        call("--labels", labels, "--by", "identity", "--seed", seed, "--output", tmp_path / name)
    content = [(tmp_path / name).read_bytes() for name in ("a.csv", "b.csv", "c.csv")]
    assert content[0] == content[1] != content[2]


def test_split_writes_one_label_file_per_part(labels, tmp_path):
    call("--labels", labels, "--by", "identity", "--split", 0.5, 0.25, 0.25, "--output", tmp_path / "s.csv")
    parts = {name: pd.read_csv(tmp_path / f"s.{name}.csv") for name in ("train", "val", "test")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 24, "val": 12, "test": 12}
    assert set(parts["train"]["identity"]).isdisjoint(parts["val"]["identity"])


def test_one_generator_or_one_value_is_held_out(labels, tmp_path):
    call("--labels", labels, "--leave_out", "generator", "--output", tmp_path / "l.csv")
    table = pd.read_csv(tmp_path / "l.csv", keep_default_na=False)
    assert set(table["fold"]) == {"G0", "G1", "G2"}
    fakes = table[table["target"] == 1]
    assert (fakes["fold"] == fakes["generator"]).all()
    assert (table[table["target"] == 0].groupby("fold").size() == 8).all()
    call("--labels", labels, "--hold_out", "generator=G1", "--output", tmp_path / "h.csv")
    table = pd.read_csv(tmp_path / "h.csv", keep_default_na=False)
    assert set(table.loc[table["split"] == "test", "generator"]) == {"G1"}


def test_near_duplicates_stay_in_one_fold(tmp_path, capsys):
    clips = tmp_path / "clips"
    clips.mkdir()
    for seed in range(3):
        frames, sound = scene(seed), speech(seed)
        write_clip(clips / f"real{seed}.mp4", frames, FPS, sound, SOUND_HZ, video_options=FAST)
        write_clip(
            clips / f"fake{seed}.mp4", frames, FPS, speech(50 + seed), SOUND_HZ, video_options={**FAST, "crf": "35"}
        )
    rows = [f"{kind}{seed}.mp4,{int(kind == 'fake')}" for kind in ("real", "fake") for seed in range(3)]
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(["video_name,target", *rows, "absent.mp4,1"]) + "\n")
    call("--labels", labels, "--video_dir", clips, "--near_duplicates", "--folds", 2, "--output", tmp_path / "f.csv",
         "--workers", 1, "--quiet")  # fmt: skip
    table = pd.read_csv(tmp_path / "f.csv").set_index("video_name")
    assert [table.loc[f"real{seed}.mp4", "group"] == table.loc[f"fake{seed}.mp4", "group"] for seed in range(3)] == [
        True
    ] * 3
    assert table["group"].nunique() == 4
    assert "3 pairs share frames, 0 share audio" in capsys.readouterr().out
    assert (tmp_path / "f.csv.fingerprints.npz").is_file()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "keeps clips together"),
        (["--near_duplicates"], "--video_dir"),
        (["--near_duplicates", "--video_dir", "nowhere"], "no such folder"),
        (["--by", "person"], "no column 'person'"),
        (["--by", "identity", "--folds", "1"], "at least 2"),
        (["--by", "identity", "--folds", "13"], "cannot fill 13 parts"),
        (["--by", "identity", "--split", "0.7", "0.7"], "sum to 1"),
        (["--by", "identity", "--hold_out", "generator"], "COL=VALUE"),
        (["--by", "identity", "--seed", "-1"], "at least 0"),
        (["--by", "identity", "--folds", "3", "--split", "0.5", "0.5"], "not allowed"),
    ],
)
def test_wrong_usage_gives_one_sentence(argv, words, labels, tmp_path, capsys):
    line = one_sentence(main, ["--labels", str(labels), "--output", str(tmp_path / "o.csv"), *argv], capsys)
    assert words in line
    assert not (tmp_path / "o.csv").exists()


def test_help_imports_neither_torch_nor_pandas():
    code = "import sys, runpy; sys.argv = ['make_splits.py', '--help']\ntry: runpy.run_path('utils/make_splits.py', run_name='__main__')\nexcept SystemExit: print('torch' in sys.modules, 'pandas' in sys.modules)"  # noqa: E501
    environment = {**os.environ, "PYTHONPATH": ""}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, env=environment, check=True
    )
    assert "--near_duplicates" in run.stdout and run.stdout.rstrip().endswith("False False")
