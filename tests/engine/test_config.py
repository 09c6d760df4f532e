"""Configs: all problems are reported at once, with their source, path and the nearest valid name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.config import RunConfig, apply_override, check_run_config, load_run_config, parse_number
from tests.support import REPOSITORY
from utils.errors import UsageError


def test_reading_a_config_loads_no_torch():
    code = "import sys, engine.config; engine.config.load_run_config(None); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def problems(raw, *overrides):
    with pytest.raises(UsageError) as caught:
        check_run_config(raw, overrides, where="mine.yml", check_model=True)
    return str(caught.value)


@pytest.mark.parametrize(
    ("raw", "path", "nearest"),
    [
        ({"trian": {}}, "trian", "train"),
        ({"train": {"epoch": 3}}, "train.epoch", "epochs"),
        ({"train": {"augment": {"mel_filp": 0.1}}}, "train.augment.mel_filp", "mel_flip"),
        ({"features": {"video": {"topk": 64}}}, "features.video.topk", "top_k"),
        ({"label_name": {"trainingset": "a.txt"}}, "label_name.trainingset", "trainset"),
        ({"data": {"video_dir": {"valset_": "v"}}}, "data.video_dir.valset_", "valset"),
        ({"model": {"name": "ffdv_cov", "alhpa": 1}}, "model.alhpa", "alpha"),
        ({"model": {"name": "mel_baseline", "back_bone": "x"}}, "model.back_bone", "backbone"),
    ],
)
def test_misspelt_key_is_reported_with_the_nearest_one(raw, path, nearest):
    assert f"mine.yml: {path}: unknown key; did you mean {nearest!r}?" in problems(raw)


def test_unknown_key_without_a_near_match_lists_the_valid_keys():
    assert "train.zzz: unknown key; valid keys: epochs, batch_size" in problems({"train": {"zzz": 1}})


def test_all_problems_are_reported_at_once():
    raw = {
        "seed": -1,
        "train": {"epochs": 0, "lr": "fast"},
        "eval": {"tta": 3},
        "evaluate": "train",
        "model": {"name": "ffdv_cov", "alpha": "big", "cosin": True},
    }
    text = problems(raw, "data.wokers=1")
    expected = ("seed", "train.epochs", "train.lr", "eval.tta", "evaluate", "model.alpha", "model.cosin", "data.wokers")
    for path in expected:
        assert f"{path}: " in text
    assert "got 'fast'" in text and "\n" not in text


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"train": 5}, "train: got 5"),
        ({"train": None}, "train: got None"),
        ({"model": "ffdv_cov"}, "model: got 'ffdv_cov'"),
        ({"model": {"name": ["ffdv_cov"]}}, "model.name: unknown model ['ffdv_cov']"),
        ({"model": {"name": "ffdv_cow"}}, "did you mean 'ffdv_cov'"),
        ({"device": "tpu"}, "device: got 'tpu'"),
        ({"name": "a/b"}, "name: got 'a/b'"),
        ({"train": {"lr": 0}}, "train.lr: got 0"),
        ({"train": {"batch_size": 2.5}}, "train.batch_size: got 2.5"),
        ({"features": {"video": {"covariance": "rows"}}}, "'frames' or 'bins'"),
        ({1: 2}, "1: "),
    ],
)
def test_wrong_types_and_values_are_reported(raw, words):
    assert words in problems(raw)


def test_overrides_take_precedence_over_the_file_and_parse_numbers():
    raw = {"train": {"lr": 0.5, "epochs": 7}}
    overrides = ["train.lr=1e-4", "model.alpha=2", "features.video.top_k=64", "data.source=video", "train.lr=2E-4"]
    config = check_run_config(raw, overrides, where="", check_model=True)
    assert (config.train.lr, config.train.epochs) == (2e-4, 7)
    assert (config.model["alpha"], config.features.video.top_k, config.data.source) == (2.0, 64, "video")


@pytest.mark.parametrize(
    ("raw", "overrides", "expected"),
    [
        ({}, ["train.lr=fast"], "--set train.lr=fast: train.lr: got 'fast'"),
        ({}, ["trian.lr=1"], "--set trian.lr=1: trian: unknown key; did you mean 'train'?"),
        ({}, ["train={epochs: 0}"], "--set train={epochs: 0}: train.epochs: got 0"),
        ({}, ["train=5"], "--set train=5: train: got 5"),
        ({}, ["model.alpha=big"], "--set model.alpha=big: model.alpha: got 'big'"),
        ({}, ["model.name=ffdv_cow"], "--set model.name=ffdv_cow: model.name: "),
        ({"train": {"lr": "fast"}}, ["train.epochs=3"], "mine.yml: train.lr: got 'fast'"),
        ({"trian": {"lr": 1}}, ["trian.epochs=3"], "mine.yml: trian: unknown key"),
        ({}, ["seed=1", "seed=-1"], "--set seed=-1: seed: got -1"),
    ],
)
def test_problem_is_reported_with_its_source(raw, overrides, expected):
    assert problems(raw, *overrides).startswith(expected)


def test_problems_of_file_and_override_are_listed_with_their_own_source():
    text = problems({"seed": -1}, "train.epochs=0")
    assert text.startswith("mine.yml: seed: got -1") and "; --set train.epochs=0: train.epochs: got 0" in text


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a=1e-4", {"a": 1e-4}),
        ("a=-2.5E3", {"a": -2500.0}),
        ("a=3", {"a": 3}),
        ("a=true", {"a": True}),
        ("a=null", {"a": None}),
        ("a=", {"a": None}),
        ("a={b: 1}", {"a": {"b": 1}}),
        ("a=x=y", {"a": "x=y"}),
        ("a='1e-4 s'", {"a": "1e-4 s"}),
        ("a.b.c=text", {"a": {"b": {"c": "text"}}}),
        (" a.b =1", {"a": {"b": 1}}),
        ("a=: [", {"a": ": ["}),
        ("a=resnet18", {"a": "resnet18"}),
        ("a=label.v1.txt", {"a": "label.v1.txt"}),
    ],
)
def test_valid_overrides_are_parsed(override, expected):
    raw = {}
    apply_override(raw, override)
    assert raw == expected


@pytest.mark.parametrize("override", ["train.lr", "=3", "", "train.lr.x=1"])
def test_invalid_overrides_are_rejected(override):
    with pytest.raises(UsageError, match="--set"):
        apply_override({"train": {"lr": 1}}, override)


def test_text_values_stay_text():
    assert [parse_number(text) for text in ("nan", "inf", "e", "1.2.3", True)] == ["nan", "inf", "e", "1.2.3", True]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- a\n- b\n", "found a list"),
        ("just words\n", "found a str"),
        ("a: [1\n", "is not YAML"),
        ("a: 1\n\tb: 2\n", "is not YAML"),
        ("!!python/object/apply:os.system ['true']\n", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
    ],
)
def test_file_without_a_mapping_is_rejected(tmp_path, content, words):
    path = tmp_path / "mine.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=words) as caught:
        load_run_config(path)
    assert "mine.yml" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_is_rejected_and_an_empty_file_gives_the_defaults(tmp_path):
    with pytest.raises(UsageError, match="config file does not exist"):
        load_run_config(tmp_path / "none.yml")
    with pytest.raises(UsageError, match="config file is a folder"):
        load_run_config(tmp_path)
    (tmp_path / "empty.yml").write_text("# nothing\n")
    assert load_run_config(tmp_path / "empty.yml") == RunConfig()


def test_resolved_config_is_valid_input(tmp_path):
    config = load_run_config(None, ["model.alpha=2", "name=münchen.v2"], check_model=True)
    (tmp_path / "again.yml").write_text(config.to_yaml(), encoding="utf-8")
    assert load_run_config(tmp_path / "again.yml", check_model=True) == config


def test_checked_config_is_immutable():
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().seed = 3
