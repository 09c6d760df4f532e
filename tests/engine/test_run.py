"""Complete runs: files, selection of the epoch, and errors."""

from __future__ import annotations

import csv
import json

import numpy as np
import pandas as pd
import pytest
import yaml

import engine.run
from engine.checkpoint import load_checkpoint
from engine.config import load_run_config
from engine.run import run_evaluation, run_training
from tests.support import (
    NO_AUDIO,
    NO_VIDEO,
    UNREADABLE,
    MadeClip,
    made_clips,
    tiny_config,
    tiny_model,
    write_root,
    write_split,
)
from utils.errors import UsageError, WorkError


def read_csv(path):
    return pd.read_csv(path, keep_default_na=False)


def metrics_of(folder):
    return json.loads((folder.path / "metrics.json").read_text())


def test_run_folder_has_the_documented_files(finished_run):
    folder = finished_run.folder.path
    names = {path.name for path in folder.iterdir()}
    expected = {"best.pth", "last.pth", "config.yml", "metrics.json", "history.jsonl", "predictions.csv", "report.html"}
    assert expected | {"run.log", "predictions.valset.csv", "tensorboard"} == names
    assert folder.parent == finished_run.root / "runs" and folder.name.endswith("_tiny")
    assert any((folder / "tensorboard").iterdir())
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [epoch["epoch"] for epoch in history] == [1, 2]
    assert {"train_loss", "train_accuracy", "val_loss", "val_auc", "val_coverage", "lr", "seconds"} <= history[0].keys()
    assert "best epoch" in (folder / "run.log").read_text()
    report = (folder / "report.html").read_text()
    assert "<svg" in report and 'src="http' not in report


def test_predictions_have_the_documented_columns_and_one_row_per_clip(finished_run):
    table = read_csv(finished_run.folder.path / "predictions.csv")
    assert list(table.columns[:6]) == ["video_name", "target", "score", "logit", "status", "reason"]
    assert list(table.columns[6:]) == ["evidence_head", "evidence_cosine"]
    assert table["video_name"].tolist() == [clip.name for clip in made_clips(6, "t")]
    assert set(table["status"]) == {"ok"} and set(table["reason"]) == {""}
    np.testing.assert_allclose(table["evidence_head"] + table["evidence_cosine"], table["logit"], atol=1e-5)


def test_prediction_file_is_written_to_the_given_path(finished_run):
    with open(finished_run.submission, newline="") as stream:
        rows = list(csv.DictReader(stream))
    table = read_csv(finished_run.folder.path / "predictions.csv")
    assert list(rows[0]) == ["video_name", "y_pred"]
    assert [float(row["y_pred"]) for row in rows] == table["score"].tolist()


def test_testset_metrics_include_valset_metrics(finished_run):
    metrics = metrics_of(finished_run.folder)
    assert (metrics["split"], metrics["n"], metrics["coverage"]) == ("testset", 6, 1.0)
    assert (metrics["valset"]["split"], metrics["valset"]["n"]) == ("valset", 8)
    assert metrics["in_sample"] is False and metrics["valset"]["in_sample"] is True
    assert metrics["initialisation"] == "random"
    assert metrics["auc"]["low"] <= metrics["auc"]["value"] <= metrics["auc"]["high"]
    assert set(metrics["tpr_at_fpr"]) == {"0.001", "0.005", "0.01"}
    for key in ("eer", "ap", "balanced_accuracy", "brier", "ece", "threshold", "per_type", "same_source", "reasons"):
        assert key in metrics
    assert metrics["tpr_at_fpr"]["0.001"] is None and "real clips" in metrics["reasons"]["tpr_at_fpr.0.001"]


def test_resolved_config_is_complete_and_valid_input(finished_run):
    path = finished_run.folder.path / "config.yml"
    again = load_run_config(path, check_model=True)
    assert again == tiny_config(finished_run.root, evaluate="test")
    assert yaml.safe_load(path.read_text())["model"].keys() >= {"alpha", "cosine", "modality_dropout", "weights"}


def test_checkpoint_records_its_provenance(finished_run):
    best = load_checkpoint(finished_run.folder.best)
    assert {"commit", "dirty", "versions", "initialisation", "seed", "data", "label_files"} <= best.provenance.keys()
    assert best.metrics["valset"] == metrics_of(finished_run.folder)["valset"]
    assert best.calibration.fitted_on in ("valset", "")
    assert best.training is None
    assert load_checkpoint(finished_run.folder.last).training["state"]["next_epoch"] == 3


def test_epoch_is_selected_on_the_validation_split_only(tmp_path):
    root = write_root(tmp_path, signal=0.03)
    config = tiny_config(root, evaluate="test", train={"epochs": 4})
    first = run_training(config)
    # Swapping the test targets makes the best epoch on the test split the worst; the selection must not change.
    rows = [f"{clip.name},{1 - clip.target}" for clip in made_clips(6, "t")]
    (root / "testset_label.csv").write_text("\n".join(["video_name,target", *rows]) + "\n")
    second = run_training(config)
    best = [load_checkpoint(run.best) for run in (first, second)]
    assert best[0].epoch == best[1].epoch and best[0].calibration == best[1].calibration
    assert metrics_of(first)["valset"] == metrics_of(second)["valset"]
    assert metrics_of(first)["auc"]["value"] == pytest.approx(1 - metrics_of(second)["auc"]["value"])
    history = [json.loads(line) for line in (first.path / "history.jsonl").read_text().splitlines()]
    aucs = [epoch["val_auc"] for epoch in history]
    assert best[0].epoch == 1 + aucs.index(max(aucs))


def test_evaluation_on_val_does_not_read_the_test_split(tmp_path):
    root = write_root(tmp_path)
    (root / "testset_label.csv").write_text("not a label file")
    folder = run_training(tiny_config(root, train={"epochs": 1}))
    metrics = metrics_of(folder)
    assert metrics["split"] == "valset" and "valset" not in metrics and metrics["in_sample"] is True
    assert not (folder.path / "predictions.valset.csv").exists()


@pytest.mark.parametrize("split", ["trainset", "valset"])
def test_split_of_one_class_is_rejected_before_a_folder_is_created(tmp_path, split):
    root = write_root(tmp_path)
    write_split(root, split, [MadeClip(f"a{index}.mp4", 1) for index in range(4)])
    with pytest.raises(UsageError, match=f"{split} has only one class"):
        run_training(tiny_config(root))
    assert not (root / "runs").exists()


def test_failed_and_partial_clips_keep_their_rows(tmp_path):
    root = write_root(tmp_path)
    broken = [MadeClip("x no audio.mp4", 1, NO_AUDIO), MadeClip("x/ünlesbar.mp4", 0, UNREADABLE)]
    more = [MadeClip("x_no_video.mp4", 0, NO_VIDEO), MadeClip("x_ok.mp4", 1)]
    for split in ("trainset", "valset"):
        write_split(root, split, [*broken, *made_clips(8), *more])
    folder = run_training(tiny_config(root, train={"epochs": 1}))
    (epoch,) = folder.read_history()
    assert (epoch["n_train"], epoch["n_train_unusable"]) == (11, 1)
    table = read_csv(folder.path / "predictions.csv").set_index("video_name")
    assert len(table) == 12
    assert table.loc["x/ünlesbar.mp4", ["score", "logit", "status", "reason"]].tolist() == [
        "",
        "",
        "failed",
        "unreadable",
    ]
    assert table.loc["x no audio.mp4", ["status", "reason"]].tolist() == ["partial", "no_audio"]
    assert 0 < float(table.loc["x no audio.mp4", "score"]) < 1
    assert 0 < float(table.loc["x_no_video.mp4", "score"]) < 1
    metrics = metrics_of(folder)
    assert metrics["coverage"] == pytest.approx(11 / 12) and metrics["n"] == 12
    submission = read_csv("prediction.txt.csv").set_index("video_name")
    assert submission.loc["x/ünlesbar.mp4", "y_pred"] == 0.5
    assert "1 clips unusable" in (folder.path / "run.log").read_text()


def test_clips_without_the_required_modality_are_unscored(tmp_path):
    root = write_root(tmp_path)
    write_split(root, "valset", [*made_clips(6), MadeClip("mute.mp4", 1, NO_AUDIO)])
    folder = run_training(tiny_config(root, model=tiny_model("mel_baseline"), train={"epochs": 1}))
    row = read_csv(folder.path / "predictions.csv").set_index("video_name").loc["mute.mp4"]
    assert (row["score"], row["logit"], row["status"], row["reason"]) == ("", "", "partial", "no_audio")


def test_run_without_usable_validation_clips_ends_in_its_first_epoch(tmp_path):
    root = write_root(tmp_path)
    write_split(root, "valset", [MadeClip(f"m{index}.mp4", index % 2, NO_AUDIO) for index in range(4)])
    with pytest.raises(WorkError, match="0 of 4 clips scored"):
        run_training(tiny_config(root, model=tiny_model("mel_baseline")))


def test_run_without_usable_training_clips_ends(tmp_path):
    root = write_root(tmp_path)
    write_split(root, "trainset", [MadeClip(f"m{index}.mp4", index % 2, NO_AUDIO) for index in range(4)])
    with pytest.raises(WorkError, match="no training clip has"):
        run_training(tiny_config(root, model=tiny_model("mel_baseline")))


@pytest.mark.parametrize("split", ["trainset", "valset", "testset"])
def test_missing_label_file_is_reported_with_a_hint_to_make_the_demo(tmp_path, split):
    root = write_root(tmp_path)
    next(root.glob(f"{split}_label.*")).unlink()
    with pytest.raises(UsageError, match=rf"{split} is needed.*{split}_label.*make demo"):
        run_training(tiny_config(root, evaluate="test"))


def test_features_of_another_config_are_rejected_with_the_field(tmp_path):
    root = write_root(tmp_path)
    features = {"video": {"top_k": 32}, "audio": {"image_size_px": 64, "n_mels": 32}}
    with pytest.raises(UsageError, match=r"video\.top_k: 16 stored, 32 requested.*--overwrite"):
        run_training(tiny_config(root, features=features))


def test_unwritable_prediction_file_is_rejected_before_training(tmp_path, monkeypatch):
    root = write_root(tmp_path)
    (tmp_path / "prediction.txt.csv").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="the prediction file is a folder"):
        run_training(tiny_config(root))
    assert not (root / "runs").exists()


def test_output_folder_that_cannot_be_created_is_rejected(tmp_path):
    root = write_root(tmp_path)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UsageError, match="output_dir"):
        run_training(tiny_config(root, output_dir=str(tmp_path / "taken" / "runs")))


class TestEvaluation:
    """Evaluation of a checkpoint, as with `main.py --checkpoint`."""

    def test_metrics_equal_those_of_the_run(self, finished_run):
        config = tiny_config(finished_run.root, evaluate="test", model={"name": "mel_baseline", "pretrained": False})
        folder = run_evaluation(config, str(finished_run.folder.best))
        assert folder.path.name.endswith("_tiny_evaluation")
        trained = metrics_of(finished_run.folder)
        # Only training runs check for leakage.
        assert trained.pop("leakage")["check"] == "stored"
        assert metrics_of(folder) == trained
        assert not (folder.path / "best.pth").exists() and (folder.path / "report.html").is_file()
        ours, theirs = (read_csv(run.path / "predictions.csv") for run in (folder, finished_run.folder))
        pd.testing.assert_frame_equal(ours, theirs, atol=1e-6, rtol=0)

    @pytest.mark.parametrize("targets", ["none", "empty", "-1", "0.5"])
    def test_label_file_without_targets_gives_predictions_and_no_metrics(self, finished_run, tmp_path, targets):
        root = write_root(tmp_path, train=2, val=2, test=4)
        names = [clip.name for clip in made_clips(4, "t")]
        cell = {"none": "", "empty": ","}.get(targets, f",{targets}")
        header = "video_name" if targets == "none" else "video_name,target"
        (root / "testset_label.csv").write_text("\n".join([header, *(name + cell for name in names)]) + "\n")
        (root / "valset_label.txt").unlink()
        folder = run_evaluation(tiny_config(root, evaluate="test"), str(finished_run.folder.best))
        table = read_csv(folder.path / "predictions.csv")
        assert len(table) == 4 and (table["score"].astype(float) > 0).all() and set(table["target"]) == {""}
        metrics = metrics_of(folder)
        assert "valset" not in metrics
        assert [metrics["auc"][key] for key in ("value", "low", "high")] == [None] * 3
        for key in ("eer", "ap", "balanced_accuracy", "brier", "ece"):
            assert metrics[key] is None
        assert metrics["reasons"]["auc"]

    def test_submission_keeps_its_values_for_unscored_clips(self, finished_run, tmp_path):
        root = write_root(tmp_path, train=2, val=2, test=2)
        write_split(root, "testset", [*made_clips(3, "t"), MadeClip("bad.mp4", 1, UNREADABLE)])
        given = tmp_path / "given.csv"
        given.write_text("video_name,y_pred\nt002.mp4,0.10\nforeign.mp4,0.123456789012\nbad.mp4,0.7\nt000.mp4,0.2\n")
        output = tmp_path / "new" / "submit.csv"
        config = tiny_config(root, evaluate="test")
        folder = run_evaluation(config, str(finished_run.folder.best), merge_into=str(given), output=str(output))
        with open(output, newline="") as stream:
            rows = list(csv.reader(stream))
        assert rows[0] == ["video_name", "y_pred"]
        assert [row[0] for row in rows[1:]] == ["t002.mp4", "foreign.mp4", "bad.mp4", "t000.mp4"]
        assert rows[2][1] == "0.123456789012" and rows[3][1] == "0.7"
        scores = read_csv(folder.path / "predictions.csv").set_index("video_name")["score"].astype(str)
        assert float(rows[1][1]) == pytest.approx(float(scores["t002.mp4"]), rel=1e-6)
        assert float(rows[4][1]) == pytest.approx(float(scores["t000.mp4"]), rel=1e-6)

    @pytest.mark.parametrize("content", [None, "video_name,target\na.mp4,1\n", "", "name;y_pred\n"])
    def test_invalid_submission_is_rejected_before_scoring(self, finished_run, tmp_path, content, monkeypatch):
        given = tmp_path / "given.csv"
        if content is not None:
            given.write_text(content)
        monkeypatch.setattr(engine.run, "evaluate_split", lambda *_: pytest.fail("scoring started"))
        with pytest.raises(UsageError, match=r"given\.csv"):
            run_evaluation(tiny_config(finished_run.root), str(finished_run.folder.best), merge_into=str(given))

    def test_evaluation_without_scores_fails_after_writing_its_files(self, finished_run, tmp_path):
        root = write_root(tmp_path, train=2, val=2, test=2)
        write_split(root, "valset", [MadeClip(f"b{index}.mp4", index % 2, UNREADABLE) for index in range(3)])
        with pytest.raises(WorkError, match="no clip of valset could be scored"):
            run_evaluation(tiny_config(root), str(finished_run.folder.best))
        (folder,) = (root / "runs").iterdir()
        assert read_csv(folder / "predictions.csv")["reason"].tolist() == ["unreadable"] * 3
        assert json.loads((folder / "metrics.json").read_text())["coverage"] == 0
        assert read_csv("prediction.txt.csv")["y_pred"].tolist() == [0.5] * 3

    def test_other_label_columns_are_kept_and_types_are_reported(self, finished_run, tmp_path):
        root = write_root(tmp_path, train=2, val=6, test=2)
        names = [clip.name for clip in made_clips(6, "v")]
        kinds = ["real", "swap", "real", "lips", "real", "swap"]
        lines = [
            f"{name},{int(kind != 'real')},{kind},0{row}"
            for row, (name, kind) in enumerate(zip(names, kinds, strict=True))
        ]
        (root / "valset_label.txt").write_text("\n".join(["video_name,target,type,note", *lines]) + "\n")
        folder = run_evaluation(tiny_config(root), str(finished_run.folder.best))
        table = pd.read_csv(folder.path / "predictions.csv", dtype=str)
        assert list(table.columns[6:8]) == ["type", "note"]
        assert table["type"].tolist() == kinds and table["note"].tolist() == ["00", "01", "02", "03", "04", "05"]
        assert set(metrics_of(folder)["per_type"]) == {"swap", "lips"}
