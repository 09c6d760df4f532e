"""Fitting from real clips to a checkpoint, with equal scores cached, on the fly and in inference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset.config import ExtractionConfig
from dataset.extraction import extract_split
from dataset.pseudo_fakes.build import build_pseudo_fakes
from dataset.pseudo_fakes.set_folder import LABELS, SetSettings
from engine.checkpoint import load_checkpoint
from engine.config import FitConfig
from engine.detector import Detector
from engine.evaluate import predict_split
from engine.experiments import CSV_FILE, TABLE_FILE, plan_experiments, run_experiments
from engine.fitting import base, fit_experts, labelled_clips, voice
from engine.fitting.voice_examples import SYNTHETIC, VoiceExampleCounts, VoiceTask, load_voices
from engine.run import open_required, split_of
from engine.score_files import ScoringOptions, score_table
from tests.in_process import in_process, no_work
from tests.support import FEATURE_CONFIG, WITH_VOICE, tiny_config, write_video
from utils.cache import content_key, is_intact_archive
from utils.errors import UsageError
from utils.features.extract import clip_voice, extract_clip
from utils.features.voice import VOICE_RATE_HZ
from utils.media.writer import write_clip

FEW = VoiceExampleCounts(real_copies=2, fake_copies=1)


@pytest.fixture(scope="module")
def real_clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    return [write_video(folder / f"{seed}.mp4", seed) for seed in range(3)]


@pytest.fixture(scope="module")
def pseudo_root(real_clips, tmp_path_factory):
    root = tmp_path_factory.mktemp("pseudo")
    table = build_pseudo_fakes(real_clips, root, SetSettings(seed=1, fakes_per_clip=2))
    return root, table


@pytest.fixture(scope="module")
def fitted(pseudo_root, tmp_path_factory):
    root, table = pseudo_root
    work = tmp_path_factory.mktemp("fit")
    config = fit_config(root, work)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voice, "VoiceExampleCounts", lambda: FEW)
        folder = fit_experts(config)
    return config, folder, work, table


def fit_config(root, work):
    return tiny_config(
        root,
        output_dir=str(work / "runs"),
        fit={"cache": str(work / "cache")},
        label_name={"trainset": LABELS},
        features={"voice": True},
        model={"name": "av_experts", "experts": {"voice": {"trees": 5}}},
        extraction={"workers": 1},
        data={"source": "video", "workers": 0},
    )


def test_pseudo_fake_set_has_real_and_forged_copies_with_spans(pseudo_root):
    root, table = pseudo_root
    assert table["target"].tolist() == [0, 1, 1] * 3 and table["type"][1:3].tolist() == ["mel_griffin_lim", "mel_gain"]
    assert (table.loc[table["target"] == 1, "end_s"] > 0).all() and (
        table.loc[table["target"] == 0, "end_s"] == ""
    ).all()
    assert table["group"].nunique() == 3
    for name in table["video_name"]:
        features = extract_clip(root / "trainset" / name, FEATURE_CONFIG)
        assert (features.facts.n_frames, features.facts.has_audio) == (20, True)
    first, second = (extract_clip(root / "trainset" / name, FEATURE_CONFIG) for name in table["video_name"][:2])
    np.testing.assert_array_equal(first.values["covariance"], second.values["covariance"])


def test_every_clip_is_scored_out_of_fold_and_no_path_is_stored(fitted):
    config, folder, _, table = fitted
    checkpoint = load_checkpoint(folder.best)
    assert checkpoint.calibration.fitted_on == "out_of_fold"
    assert checkpoint.run_config["extract_path"] == "data"
    lines = (folder.path / "predictions.csv").read_text().splitlines()
    assert len(lines) == 1 + len(table) and "evidence_voice" in lines[0]
    table_of_experts = pd.read_csv(folder.path / "experts.csv")
    assert table_of_experts["experts"].tolist() == ["voice"] and table_of_experts["coverage"].tolist() == [1.0]


def test_second_fit_reads_the_cache_only(fitted, monkeypatch):
    config, _, work, _ = fitted
    monkeypatch.setattr(voice, "VoiceExampleCounts", lambda: FEW)
    monkeypatch.setattr(base, "run_in_workers", lambda *_, **__: pytest.fail("computed again"))
    again = fit_experts(config)
    assert load_checkpoint(again.best).calibration == load_checkpoint(fitted[1].best).calibration


def test_experiments_include_a_fitted_detector_and_controls(fitted, tmp_path, monkeypatch):
    config, folder, _, table = fitted
    file, folds = tmp_path / "experts.yml", tmp_path / "folds.csv"
    file.write_text(config.to_yaml())
    table.assign(fold=[row // 3 % 2 for row in range(len(table))]).to_csv(folds, index=False)
    monkeypatch.setattr(voice, "VoiceExampleCounts", lambda: FEW)
    experiments = plan_experiments([file], [f"split.folds={folds}"])
    (outcome,) = run_experiments(experiments, [0, 1], tmp_path / "out", controls=True)
    assert not outcome.failures and not (outcome.runs[0].folder / "best.pth").exists()
    rows = pd.read_csv(tmp_path / "out" / CSV_FILE)
    assert rows["config"][0] == config.name and {"control: duration", "control: container facts"} <= set(rows["config"])
    assert rows["n"].eq(len(table)).all() and rows["split"].eq("out_of_fold").all()
    predictions = pd.read_csv(outcome.runs[0].predictions).merge(
        pd.read_csv(folder.path / "predictions.csv"), on="video_name"
    )
    assert not np.allclose(predictions["logit_x"], predictions["logit_y"]), "other folds give other scores"
    assert "control: duration" in (tmp_path / "out" / TABLE_FILE).read_text()
    with pytest.raises(UsageError, match=r"--controls .* need split\.folds"):
        run_experiments(plan_experiments([file]), [0], tmp_path / "out", controls=True)


def test_labelled_fakes_are_training_examples_only_if_configured(fitted, monkeypatch):
    config, _, _, table = fitted
    monkeypatch.setattr(voice, "VoiceExampleCounts", lambda: FEW)
    asking = config.model_copy(update={"fit": config.fit.model_copy(update={"labelled_fakes": True})})
    kinds = [voice.VoiceFitter.gather(labelled_clips(each), each).examples for each in (config, asking)]
    assert (kinds[0].kinds == SYNTHETIC).sum() == 0
    taught = kinds[1].kinds == SYNTHETIC
    assert taught.sum() == 3 * (table["target"] == 1).sum()
    assert (kinds[1].folds[taught] >= 0).all(), "a labelled fake is held out with its fold"


def test_cached_on_the_fly_and_inference_scores_are_equal(fitted):
    config, folder, _, table = fitted
    checkpoint = load_checkpoint(folder.best)
    model = checkpoint.build()
    split = split_of(config, "trainset", checkpoint.features)
    extract_split(split, ExtractionConfig(workers=1), quiet=True)

    def evaluated(source):
        sections = config.model_copy(update={"data": config.data.model_copy(update={"source": source})})
        clips = open_required(sections, "trainset", checkpoint.features, need_targets=False)
        device = next(model.buffers()).device
        scored = predict_split(
            model, clips, checkpoint.features, config, device=device, calibration=checkpoint.calibration
        )
        return scored["logit"].to_numpy()

    cached, on_the_fly = evaluated("features"), evaluated("video")
    paths = [split.video_path(name) for name in table["video_name"]]
    inferred = score_table(Detector(checkpoint, device="cpu"), paths, ScoringOptions(workers=1, quiet=True))
    assert np.isfinite(cached).all()
    np.testing.assert_array_equal(on_the_fly, cached)
    np.testing.assert_array_equal(inferred["logit"], cached)
    np.testing.assert_allclose(inferred["evidence_voice"], cached, atol=1e-6)


def test_clip_without_audio_is_unscored_with_a_reason(fitted, tmp_path):
    checkpoint = load_checkpoint(fitted[1].best)
    mute = write_video(tmp_path / "mute.mp4", 0, audio=False)
    score = Detector(checkpoint, device="cpu").score(mute)
    assert (score.verdict, score.reason) == ("unscored", "no_audio")


def test_cached_examples_are_reused(real_clips, tmp_path):
    tasks = [VoiceTask("a", real_clips[0], content_key(real_clips[0]), "real", WITH_VOICE, FEW, 0, tmp_path)]
    tasks.append(VoiceTask("b", tmp_path / "absent.mp4", "", "real", WITH_VOICE, FEW, 0, tmp_path))
    first = dict(zip("ab", load_voices(tasks, in_process), strict=True))
    assert first["b"] is None and first["a"].examples.shape[0] == len(first["a"].kinds) == 9
    (again,) = load_voices(tasks[:1], no_work)
    np.testing.assert_array_equal(again.examples, first["a"].examples)


def test_truncated_cache_files_are_rebuilt(fitted, monkeypatch):
    config, folder, work, table = fitted
    monkeypatch.setattr(voice, "VoiceExampleCounts", lambda: FEW)
    described, fits = sorted((work / "cache").glob("*.npz")), sorted((work / "cache" / "fits").iterdir())
    for kept in (*described, *fits):
        kept.write_bytes(kept.read_bytes()[: kept.stat().st_size // 2])
    again = fit_experts(config)
    assert load_checkpoint(again.best).calibration == load_checkpoint(folder.best).calibration
    assert sum(map(is_intact_archive, described)) >= len(table) and any(map(is_intact_archive, fits))


def test_detector_can_be_fitted_on_real_clips_only(real_clips, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    rows = [f"{clip.name},0,{number}" for number, clip in enumerate(real_clips)]
    (tmp_path / LABELS).write_text("\n".join(["video_name,target,fold", *rows]) + "\n")
    (tmp_path / "trainset").symlink_to(real_clips[0].parent)
    monkeypatch.setattr(voice, "VoiceExampleCounts", lambda: FEW)
    folder = fit_experts(fit_config(tmp_path, tmp_path))
    metrics = json.loads((folder.path / "metrics.json").read_text())
    assert (
        metrics["auc"]["value"] is None
        and metrics["pseudo_fakes"]["n"] == 3
        and metrics["pseudo_fakes"]["auc"] is not None
    )
    log = (folder.path / "run.log").read_text()
    assert "3 held-out pseudo-fakes are used instead, AUC" in log and "calibration and thresholds: " in log
    assert load_checkpoint(folder.best).calibration.n == 6


def test_expert_with_too_few_clips_with_audio_is_left_out(real_clips, tmp_path, caplog):
    labels = [f"{clip},{int(number > 0)},{number}" for number, clip in enumerate(["0.mp4", "1.mp4", "2.mp4"])]
    (tmp_path / LABELS).write_text("\n".join(["video_name,target,fold", *labels, "absent.mp4,0,4"]) + "\n")
    (tmp_path / "trainset").symlink_to(real_clips[0].parent)
    with pytest.raises(UsageError, match="none of the experts voice can be fitted"):
        fit_experts(fit_config(tmp_path, tmp_path))
    assert "1 real clips with usable audio, 0 outside the largest fold" in caplog.text


def test_real_clips_in_one_fold_are_rejected_before_extraction(pseudo_root, tmp_path, monkeypatch):
    root, table = pseudo_root
    (tmp_path / LABELS).write_text(table.assign(fold="0").to_csv(index=False))
    (tmp_path / "trainset").symlink_to(root / "trainset")
    monkeypatch.setattr(voice, "load_voices", lambda *_, **__: pytest.fail("extracted"))
    with pytest.raises(UsageError, match="one fold"):
        fit_experts(fit_config(tmp_path, tmp_path))


def test_clips_without_video_have_their_own_metrics_and_do_not_decide_the_threshold(pseudo_root, tmp_path, monkeypatch):
    root, table = pseudo_root
    (tmp_path / "trainset").mkdir()
    rows = ["video_name,target,group"]
    for name, target, group in zip(table["video_name"], table["target"], table["group"], strict=True):
        (tmp_path / "trainset" / name).symlink_to(root / "trainset" / name)
        voiced = tmp_path / "trainset" / f"{Path(name).stem}.flac"
        samples = clip_voice(root / "trainset" / name, FEATURE_CONFIG)
        write_clip(voiced, None, 0, samples, VOICE_RATE_HZ, audio_codec="flac")
        rows += [f"{name},{target},{group}", f"{voiced.name},{target},audio {group}"]
    (tmp_path / LABELS).write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(voice, "VoiceExampleCounts", lambda: FEW)
    folder = fit_experts(fit_config(tmp_path, tmp_path))
    metrics = json.loads((folder.path / "metrics.json").read_text())
    assert metrics["n"] == metrics["audio_only"]["n"] == len(table)
    assert metrics["auc"]["value"] is not None and metrics["audio_only"]["auc"]["value"] is not None
    assert load_checkpoint(folder.best).calibration.n == len(table)
    predictions = pd.read_csv(folder.path / "predictions.csv", keep_default_na=False)
    audio_only = predictions["video_name"].str.endswith(".flac")
    assert set(predictions.loc[audio_only, "reason"]) == {"no_video"}
    assert set(predictions.loc[~audio_only, "reason"]) == {""}
    experts = pd.read_csv(folder.path / "experts.csv")
    assert experts["clips"].tolist() == ["with_video", "audio_only"] and experts["n"].tolist() == [len(table)] * 2


def test_a_recording_in_two_folds_is_refused(pseudo_root, tmp_path):
    root, table = pseudo_root
    (tmp_path / "trainset").symlink_to(root / "trainset")
    folds = [str(row % 2) for row in range(len(table))]
    (tmp_path / LABELS).write_text(table.assign(fold=folds, pair=table["group"]).to_csv(index=False))
    with pytest.raises(UsageError, match=r"pair=.* are in 2 folds .*--by pair"):
        labelled_clips(fit_config(tmp_path, tmp_path))


def test_unwritable_output_folder_is_rejected_first(pseudo_root, tmp_path, monkeypatch):
    root, _ = pseudo_root
    (tmp_path / "file").write_text("")
    config = fit_config(root, tmp_path).model_copy(update={"output_dir": str(tmp_path / "file" / "runs")})
    monkeypatch.setattr(voice, "load_voices", lambda *_, **__: pytest.fail("extracted"))
    with pytest.raises(UsageError, match="output_dir"):
        fit_experts(config)
    elsewhere = fit_config(root, tmp_path).model_copy(update={"fit": FitConfig(cache=str(tmp_path / "file" / "bank"))})
    with pytest.raises(UsageError, match="--cache"):
        fit_experts(elsewhere)
