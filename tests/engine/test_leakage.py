"""Clips shared by training and evaluation are detected before a run, counted in its results, and rejected if strict."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from dataset.extraction import extract_split
from engine.leakage import check_leakage
from engine.run import open_required, run_training, split_of
from tests.dataset.test_fingerprints import FAST, FPS, SOUND_HZ, scene, speech
from tests.support import LABEL_FILES, made_clips, tiny_config, write_root
from utils.errors import UsageError
from utils.media.writer import write_clip


def shared_root(folder, *, copied=False):
    """Write two training and three validation clips: v0 is unrelated, v1 is t0 re-encoded, v2 has the frames of t1's file.

    With `copied`, v0 is t0's file.
    """
    for split, names in (("trainset", ("t0.mp4", "t1.mp4")), ("valset", ("v0.mp4", "v1.mp4", "v2.mkv"))):
        (folder / split).mkdir(parents=True)
        rows = [f"{name},{index % 2}" for index, name in enumerate(names)]
        (folder / LABEL_FILES[split]).write_text("\n".join(["video_name,target", *rows]) + "\n")
    train, val = folder / "trainset", folder / "valset"
    for seed in (0, 1):
        write_clip(train / f"t{seed}.mp4", scene(seed), FPS, speech(seed), SOUND_HZ, video_options=FAST)
    if copied:
        shutil.copy(train / "t0.mp4", val / "v0.mp4")
    else:
        write_clip(val / "v0.mp4", scene(9), FPS, speech(9), SOUND_HZ, video_options=FAST)
    poor = {**FAST, "crf": "35"}
    write_clip(val / "v1.mp4", scene(0), FPS, speech(0), SOUND_HZ, video_options=poor, audio_bit_rate=32_000)
    write_clip(val / "v2.mkv", scene(1), FPS, speech(8), SOUND_HZ, video_options=FAST)
    return folder


def extracted(root, check="stored", **settings):
    config = tiny_config(root, split={"check": check, **settings}, extraction={"workers": 1})
    for name in ("trainset", "valset"):
        extract_split(split_of(config, name, config.features), config.extraction, quiet=True)
    return config


def tables(config):
    return [open_required(config, name, config.features, need_targets=True) for name in ("trainset", "valset")]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = shared_root(tmp_path_factory.mktemp("shared") / "data")
    extracted(folder)
    return folder


SAME_FRAMES = ("trainset/t1.mp4", "valset/v2.mkv")
SAME_CLIP = ("trainset/t0.mp4", "valset/v1.mp4")


def test_equal_frames_and_similar_audio_are_found_in_stored_features(root):
    train, val = tables(tiny_config(root))
    leakage = check_leakage(train, [val], tiny_config(root))
    assert leakage.found == {"same_bytes": [], "same_visual": [SAME_FRAMES], "same_audio": [SAME_CLIP]}
    assert "0 same bytes, 1 same visual, 1 same audio" in leakage.sentence()
    metrics = leakage.as_metrics()
    assert metrics["same_audio"] == 1 and metrics["pairs"]["same_audio"] == [list(SAME_CLIP)]
    assert (root / "trainset_raw" / "fingerprints.waves.npz").is_file()


def test_cached_pairs_are_used_until_a_fingerprint_changes(root):
    train, val = tables(tiny_config(root))
    first = check_leakage(train, [val], tiny_config(root))
    cache = root / "valset_raw" / "alike_to_training.stored.json"
    stored = json.loads(cache.read_text())
    assert stored["pairs"]["same_audio"] == [["t0.mp4", "v1.mp4"]]
    cache.write_text(json.dumps({**stored, "pairs": {"same_visual": [], "same_audio": []}}))
    assert check_leakage(train, [val], tiny_config(root)).found["same_audio"] == []
    fewer = replace(val, labels=val.labels.iloc[1:])
    assert check_leakage(train, [fewer], tiny_config(root)).found == first.found
    whole = json.loads(cache.read_text())
    damaged = [{**whole, "pairs": pairs} for pairs in (None, [], {}, {"same_visual": [], "same_audio": [["t0.mp4"]]})]
    for content in ("{", "[]", "[" * 100_000, *map(json.dumps, damaged)):
        cache.write_text(content)
        assert check_leakage(train, [val], tiny_config(root)) == first


def test_similar_frames_are_found_in_decoded_clips(root):
    config = tiny_config(root, split={"check": "clips"}, extraction={"workers": 1})
    train, val = tables(config)
    found = check_leakage(train, [val], config).found
    assert found == {"same_bytes": [], "same_visual": [SAME_CLIP, SAME_FRAMES], "same_audio": [SAME_CLIP]}


def test_check_can_be_limited(root):
    train, val = tables(tiny_config(root))
    assert check_leakage(train, [val], tiny_config(root, split={"check": "files"})).found == {"same_bytes": []}
    assert check_leakage(train, [val], tiny_config(root, split={"check": "off"})).found == {}


def test_strict_check_rejects_and_names_shared_clips(root):
    train, val = tables(tiny_config(root))
    with pytest.raises(UsageError, match=r"2 pair.*trainset/t1\.mp4 = valset/v2\.mkv.*make_splits"):
        check_leakage(train, [val], tiny_config(root, split={"strict": True}))


def test_equal_files_are_always_rejected(tmp_path):
    root = shared_root(tmp_path / "data", copied=True)
    config = extracted(root)
    with pytest.raises(UsageError, match=r"same bytes: trainset/t0\.mp4 = valset/v0\.mp4"):
        run_training(config)
    assert not (root / "runs").exists()


def test_run_reports_its_shared_clips(tmp_path):
    root = write_root(tmp_path / "data")
    for kind in ("audio_feature", "video_feature"):
        suffix = "jpg" if kind == "audio_feature" else "npy"
        shutil.copy(
            root / "trainset_raw" / kind / f"t000.mp4.{suffix}", root / "testset_raw" / kind / f"t003.mp4.{suffix}"
        )
    folder = run_training(tiny_config(root, evaluate="test"))
    leakage = json.loads((folder.path / "metrics.json").read_text())["leakage"]
    pair = ["trainset/t000.mp4", "testset/t003.mp4"]
    assert leakage["same_visual"] == leakage["same_audio"] == 1 and leakage["same_bytes"] == 0
    assert leakage["pairs"]["same_visual"] == [pair]
    assert "Clips shared between training and evaluation" in (folder.path / "report.html").read_text()


def test_constant_and_damaged_features_are_not_compared(tmp_path):
    root = write_root(tmp_path / "data")
    blank, none, archive = (io.BytesIO() for _ in range(3))
    np.save(blank, np.zeros((16, 16), np.float32))
    np.save(none, np.zeros((0, 16), np.float32))
    np.savez(archive, np.eye(16))
    config = tiny_config(root)
    for content in (blank, none, archive, io.BytesIO(b"no array")):
        for split in ("trainset", "valset"):
            name = made_clips(1, split[0])[0].name
            (root / f"{split}_raw" / "video_feature" / f"{name}.npy").write_bytes(content.getvalue())
            (root / f"{split}_raw" / "audio_feature" / f"{name}.jpg").write_bytes(b"no picture")
        train, val = tables(config)
        assert check_leakage(train, [val], config).found == {"same_bytes": [], "same_visual": [], "same_audio": []}
