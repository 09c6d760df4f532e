"""Cross-validation: every clip is scored once, by a model trained without its group."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from engine.cross_validation import divide, fold_clips, pool_clips, run_cross_validation
from main import main
from tests.support import LABEL_FILES, made_clips, one_sentence, tiny_config, write_root, write_split, write_tiny_config
from utils.errors import UsageError


def grouped_root(folder):
    """Write a data root with groups of four clips, two of each class."""
    root = write_root(folder, train=24, val=8)
    for split in ("trainset", "valset"):
        path = root / LABEL_FILES[split]
        labels = pd.read_csv(path)
        labels["group"] = [f"{split[0]}{row // 4}" for row in range(len(labels))]
        labels.to_csv(path, index=False)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return grouped_root(tmp_path_factory.mktemp("folds") / "data")


def test_every_clip_is_scored_once_out_of_fold(root):
    folder = run_cross_validation(tiny_config(root, split={"folds": 2}, train={"epochs": 1}))
    table = pd.read_csv(folder.path / "predictions.csv")
    expected = [clip.name for clip in made_clips(24, "t")] + [clip.name for clip in made_clips(8, "v")]
    assert table["video_name"].tolist() == expected
    assert (table.groupby("group")["fold"].nunique() == 1).all() and set(table["fold"]) == {0, 1}
    np.testing.assert_allclose(1 / (1 + np.exp(-table["logit"])), table["score"], atol=1e-6)
    metrics = json.loads((folder.path / "metrics.json").read_text())
    assert metrics["split"] == "out_of_fold" and metrics["n"] == 32 and metrics["n_seen_in_training"] == 0
    assert metrics["fold_auc"]["n"] == 2 and metrics["fold_0"]["n"] + metrics["fold_1"]["n"] == 32
    for name in ("fold_0", "fold_1"):
        assert (folder.path / name / "best.pth").is_file() and (folder.path / name / "metrics.json").is_file()
        of_fold = pd.read_csv(folder.path / name / "predictions.csv")
        assert set(of_fold["video_name"]) == set(table.loc[table["fold"] == int(name[-1]), "video_name"])
    assert (folder.path / "report.html").is_file()


def test_clips_of_one_recording_stay_in_one_fold(root, tmp_path):
    config = tiny_config(root, split={"folds": 2})
    labels = pool_clips(config).labels.drop(columns="group")
    labels["pair"] = [f"p{row // 2}" for row in range(len(labels))]
    folds = divide(labels, config)
    assert pd.Series(folds.fold).groupby(labels["pair"]).nunique().eq(1).all()
    labels.drop(columns="pair").assign(fold=[row % 2 for row in range(len(labels))]).to_csv(tmp_path / "f.csv")
    given = divide(labels, tiny_config(root, split={"folds": str(tmp_path / "f.csv")}))
    assert (given.group[::2] == given.group[1::2]).all(), "the pairs of the label file relate clips of a fold file"


def test_training_selection_and_test_share_no_group(root):
    config = tiny_config(root, split={"folds": 4})
    pooled = pool_clips(config)
    folds = divide(pooled.labels, config)
    for name in np.unique(folds.fold):
        part = fold_clips(pooled, folds, name, config)
        tables = (part.training.train, part.training.val, part.test)
        groups = [set(table.labels["group"]) for table in tables]
        assert all(groups) and sum(map(len, groups)) == len(set.union(*groups)) == 8


def test_fold_file_is_used_and_shared_groups_are_removed_from_training(root, tmp_path):
    config = tiny_config(root, split={"folds": 2})
    labels = pool_clips(config).labels
    fold = np.where(np.arange(32) < 14, "a", "b")
    path = tmp_path / "folds.csv"
    labels.assign(fold=fold).to_csv(path, index=False)
    config = tiny_config(root, split={"folds": str(path)})
    pooled = pool_clips(config)
    folds = divide(pooled.labels, config)
    assert folds.fold.tolist() == fold.tolist()
    part = fold_clips(pooled, folds, "b", config)
    assert len(part.test.labels) == 18
    assert len(part.training.train.labels) + len(part.training.val.labels) == 12
    labels.assign(fold=fold).iloc[1:].to_csv(path, index=False)
    with pytest.raises(UsageError, match=r"leaves out 1 clip.*t000\.mp4"):
        divide(pooled.labels, config)
    labels.assign(fold="a").to_csv(path, index=False)
    with pytest.raises(UsageError, match="needs two"):
        divide(pooled.labels, config)


def test_invalid_splits_are_rejected(root, tmp_path, capsys):
    config = write_tiny_config(root)
    for value, words in (
        ("none.csv", "fold file does not exist"),
        ("1", "greater than or equal to 2"),
        ("9", "cannot fill"),
    ):
        assert words in one_sentence(main, ["--config", str(config), "--set", f"split.folds={value}"], capsys)
    line = one_sentence(main, ["--config", str(config), "--resume", "x.pth", "--set", "split.folds=3"], capsys)
    assert "cannot be resumed" in line
    options = ["--config", str(config), "--set", "split.folds=2", "data.source=packed"]
    assert "data.source=packed: cross-validation pools" in one_sentence(main, options, capsys)
    assert not (root / "trainset_raw" / "packed").exists()
    clash = write_root(tmp_path / "clash")
    write_split(clash, "valset", made_clips(8, "t"))
    with pytest.raises(UsageError, match=r"t000\.mp4' is in trainset and in valset"):
        pool_clips(tiny_config(clash))
