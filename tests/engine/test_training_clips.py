"""Evaluated clips that were used for training are counted, even under other names."""

from __future__ import annotations

import json
import shutil

import torch

from engine.checkpoint import load_checkpoint
from engine.run import open_required, run_evaluation, run_training
from engine.training_clips import seen_in_training, training_hashes
from tests.support import MadeClip, random_checkpoint, tiny_config, write_root, write_split
from utils.features.store import FeatureStore


def metrics_of(folder):
    return json.loads((folder.path / "metrics.json").read_text())


def with_files(root, split, names, content=b"clip "):
    """Write a clip file for each name; a run on stored features does not decode it."""
    (root / split).mkdir(exist_ok=True)
    for name in names:
        (root / split / name).write_bytes(content + split.encode() + name.encode())


def test_hashes_depend_on_content_and_are_stored_in_the_checkpoint(tmp_path):
    root = write_root(tmp_path / "data")
    folder = run_training(tiny_config(root, train={"epochs": 1}))
    stored = load_checkpoint(folder.best).trained_on
    assert sorted(stored) == ["files", "stored"] and len(stored["stored"]) == 16 and len(stored["files"]) == 0
    assert torch.equal(stored["stored"], stored["stored"].sort().values)
    assert metrics_of(folder)["n_seen_in_training"] == 0


def test_renamed_training_clips_are_counted_and_reported(tmp_path, caplog):
    root = write_root(tmp_path / "data")
    with_files(root, "trainset", ["t000.mp4", "t001.mp4"])
    folder = run_training(tiny_config(root, train={"epochs": 1}))
    # One test clip has the file of a training clip, another has its stored features. Both have other names.
    write_split(root, "testset", [MadeClip(f"x{index}.mp4", index % 2) for index in range(4)], seed=5)
    with_files(root, "testset", ["x0.mp4", "x1.mp4"])
    shutil.copy(root / "trainset" / "t001.mp4", root / "testset" / "x1.mp4")
    config = tiny_config(root, evaluate="test")
    stores = [FeatureStore(root / f"{split}_raw", config.features) for split in ("trainset", "testset")]
    for feature in ("covariance", "mel"):
        shutil.copy(stores[0].path(feature, "t003.mp4"), stores[1].path(feature, "x3.mp4"))
    evaluated = run_evaluation(config, str(folder.best))
    assert metrics_of(evaluated)["n_seen_in_training"] == 2
    assert metrics_of(evaluated)["valset"]["n_seen_in_training"] == 0
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("trained on 2 of these 4 clips (for example 'x1.mp4'" in text for text in warnings)
    report = (evaluated.path / "report.html").read_text()
    assert "The model was trained on 2 of the 4 evaluated clips" in report


def test_checkpoint_without_hashes_reports_no_count(tmp_path, caplog):
    root = write_root(tmp_path / "data")
    checkpoint = random_checkpoint(tmp_path / "old.pth")
    content = torch.load(checkpoint, weights_only=True)
    del content["trained_on"]
    torch.save(content, checkpoint)
    folder = run_evaluation(tiny_config(root), str(checkpoint))
    assert metrics_of(folder)["n_seen_in_training"] is None
    assert not any("trained on" in record.getMessage() for record in caplog.records)
    assert "unknown" in (folder.path / "report.html").read_text()


def test_empty_and_missing_files_match_nothing(tmp_path):
    root = write_root(tmp_path / "data")
    for split in ("trainset", "valset"):
        shutil.rmtree(root / f"{split}_raw" / "audio_feature")
        shutil.rmtree(root / f"{split}_raw" / "video_feature")
        (root / split).mkdir()
        (root / split / f"{split[0]}000.mp4").touch()
    config = tiny_config(root)
    train, val = (open_required(config, name, config.features, need_targets=True) for name in ("trainset", "valset"))
    hashes = training_hashes(train)
    assert [len(values) for values in hashes.values()] == [0, 0]
    assert not seen_in_training(hashes, val).any()
