"""Experiments: keys, reuse, resuming, failures, folds, overrides, and the figures of the table."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import engine.run
from engine.config import DEFAULT_CONFIG
from engine.experiments import (
    CSV_FILE,
    TABLE_FILE,
    Outcome,
    comparison_rows,
    markdown_table,
    plan_experiments,
    run_experiments,
    runs,
)
from engine.experiments.plan import Experiment
from engine.experiments.runs import FinishedRun, run_or_reuse
from tests.support import LABEL_FILES, REPOSITORY, tiny_model, tiny_settings, write_root
from utils.errors import UsageError
from utils.metrics import delong_test, roc_auc


def with_columns(root: Path, **columns) -> None:
    for split in LABEL_FILES:
        path = root / LABEL_FILES[split]
        labels = pd.read_csv(path)
        for name, make in columns.items():
            labels[name] = [f"{split}{make(row)}" for row in range(len(labels))]
        labels.to_csv(path, index=False)


@pytest.fixture
def root(tmp_path) -> Path:
    folder = write_root(tmp_path / "data", train=12, val=12, test=4)
    with_columns(folder, source=lambda row: row // 4)
    return folder


def write_config(folder: Path, name: str, root: Path, **sections) -> Path:
    model = {"backbone": "resnet10t", "image_size_px": 64, **sections.pop("model", {})}
    settings = tiny_settings(
        root, name=name, model=tiny_model(**model), train={"epochs": 1, "batch_size": 6, "lr": 0.001}, **sections
    )
    settings.pop("output_dir")
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_finished_runs_are_reused_and_a_failure_is_a_row(root, tmp_path):
    files = [
        write_config(tmp_path, "first", root),
        write_config(tmp_path, "small_k", root, features={"video": {"top_k": 8}, "audio": {"image_size_px": 64, "n_mels": 32}}),
        write_config(tmp_path, "bins", root, data={"raw_suffix": "_raw_bins", "workers": 0}),
    ]  # fmt: skip
    output = tmp_path / "out"
    before = Path.cwd()
    outcomes = run_experiments(plan_experiments(files), [0, 1], output)
    assert Path.cwd() == before and not Path("prediction.txt.csv").exists()
    assert [len(outcome.runs) for outcome in outcomes] == [2, 2, 0]
    assert len(outcomes[2].failures) == 2 and "_raw_bins does not exist" in outcomes[2].failures[0]
    for outcome in outcomes[:2]:
        for seed, run in enumerate(outcome.runs):
            assert run.folder.parent == outcome.experiment.folder(output, seed)
            assert yaml.safe_load((run.folder / "config.yml").read_text())["seed"] == seed
            assert (run.folder.parent / "prediction.txt.csv").is_file()

    rows = pd.read_csv(output / CSV_FILE)
    assert rows["config"].tolist() == ["first", "small_k", "bins"]
    tables = [[pd.read_csv(run.predictions) for run in outcome.runs] for outcome in outcomes[:2]]
    target = tables[0][0]["target"]
    means = [np.mean([table["logit"] for table in pair], axis=0) for pair in tables]
    test = delong_test(target, means[1], means[0])
    assert rows["auc"][:2].tolist() == pytest.approx([roc_auc(target, mean).value for mean in means])
    assert (rows["auc_low"][:2] <= rows["auc"][:2]).all() and (rows["auc"][:2] <= rows["auc_high"][:2]).all()
    assert rows["auc_seed_mean"][0] == pytest.approx(np.mean([run.auc for run in outcomes[0].runs]))
    assert rows["delta"][1] == pytest.approx(test.delta) and math.isnan(rows["delta"][0])
    assert rows["n_sources"][0] == 3 and rows["same_source"][0] >= 0
    text = (output / TABLE_FILE).read_text()
    assert text.count("\n| ") == 4 and "| bins | failed: seed 0: " in text
    assert "the epoch was selected on these clips" in text

    def run_folders() -> set[Path]:
        return set(output.glob("*/seed_*/*/"))

    finished_runs = run_folders()
    again = run_experiments(plan_experiments(files[:2]), [0, 1], output)
    assert run_folders() == finished_runs
    assert [[run.folder for run in outcome.runs] for outcome in again] == [
        [run.folder for run in outcome.runs] for outcome in outcomes[:2]
    ]
    (changed,) = run_experiments(plan_experiments(files[:1], ["train.lr=0.01"]), [0], output)
    assert changed.runs[0].folder in run_folders() - finished_runs


def test_killed_run_resumes_from_its_last_epoch(root, tmp_path, monkeypatch):
    (experiment,) = plan_experiments([write_config(tmp_path, "one", root)], ["train.epochs=2"])

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # The run is killed after its last epoch and before it writes results.
        patch.setattr(engine.run, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            run_experiments([experiment], [3], tmp_path / "out")
    (unfinished,) = (tmp_path / "out").glob("*/seed_3/*/last.pth")
    history = (unfinished.parent / "history.jsonl").read_text()
    (outcome,) = run_experiments([experiment], [3], tmp_path / "out")
    assert not outcome.failures and outcome.runs[0].folder == unfinished.parent
    assert (unfinished.parent / "history.jsonl").read_text() == history and len(history.splitlines()) == 2
    trained_s = sum(json.loads(line)["seconds"] for line in history.splitlines())
    assert outcome.runs[0].seconds >= round(trained_s, 1)


HOLD_LOCK_THEN_FINISH = """
import sys, time
from pathlib import Path
from utils.files import locked
place = Path(sys.argv[1])
with locked(place):
    print("locked", flush=True)
    time.sleep(2)
    (place / "hidden.json").rename(place / "experiment.json")
"""


def test_run_of_a_killed_command_that_trains_on_is_awaited_and_reused(root, tmp_path, monkeypatch):
    (experiment,) = plan_experiments([write_config(tmp_path, "small", root)])
    place = experiment.folder(tmp_path / "runs", 0)
    mine = finished(place / "run", [0.0] * 4 + [1.0] * 4)
    record = asdict(mine) | {"folder": "run"}
    (place / "hidden.json").write_text(json.dumps(record), encoding="utf-8")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK_THEN_FINISH, str(place)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None and other.stdout.readline() == "locked\n"
        monkeypatch.setattr(runs, "run", lambda *_: pytest.fail("two processes train in one folder"))
        assert run_or_reuse(experiment, 0, tmp_path / "runs") == mine
    assert other.returncode == 0


def test_grouped_folds_give_out_of_fold_figures(root, tmp_path):
    files = [write_config(tmp_path, "one", root)]
    (outcome,) = run_experiments(plan_experiments(files, ["split.folds=2"]), [0], tmp_path / "out")
    assert not outcome.failures
    (row,) = comparison_rows([outcome])
    assert (row["split"], row["n"], row["coverage"]) == ("out_of_fold", 24, 1.0)
    assert row["n_sources"] == 6 and row["auc"] is not None
    assert "out_of_fold: 24 clips" in markdown_table([row])


def test_key_depends_on_everything_that_affects_the_result(root, tmp_path):
    file = write_config(tmp_path, "one", root)

    def key(*overrides: str) -> str:
        return plan_experiments([file], overrides)[0].key

    usual = key()
    assert key("seed=7", "data.workers=1", "output_dir=elsewhere", "extraction.workers=3") == usual
    assert len({usual, key("train.lr=0.1"), key("model.alpha=3"), key("eval.tta=2"), key("evaluate=test")}) == 5
    labels = root / LABEL_FILES["trainset"]
    labels.write_text(labels.read_text().replace("t000.mp4,0", "t000.mp4,1"))
    assert key() != usual


def test_override_can_address_one_config(root, tmp_path):
    files = [write_config(tmp_path, name, root) for name in ("one", "two")]
    (tmp_path / "two.yml").rename(tmp_path / "02_two.yml")
    files[1] = tmp_path / "02_two.yml"
    overrides = ["one:train.lr=0.5", "train.lr=0.25", "02_two:train.epochs=7", "two:seed=3", "extract_path=a:b"]
    one, two = plan_experiments(files, overrides)
    assert (one.config.train.lr, one.config.train.epochs) == (0.5, 1)
    assert (two.config.train.lr, two.config.train.epochs, two.config.seed) == (0.25, 7, 3)
    assert one.config.extract_path.endswith("a:b")
    with pytest.raises(
        UsageError, match=r"--set onne:train\.lr=1: no config is called 'onne' \(did you mean 'one'\?\)"
    ):
        plan_experiments(files, ["onne:train.lr=1"])


def test_paths_are_valid_from_every_working_directory(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (root / "folds.csv").touch()
    file = write_config(tmp_path, "one", Path("data"))
    (experiment,) = plan_experiments([file], ["split.folds=data/folds.csv", "model.weights=w.pth"])
    config = experiment.config
    assert (config.extract_path, config.split.folds) == (str(root), str(root / "folds.csv"))
    assert config.model["weights"] == str(tmp_path / "w.pth")


def test_invalid_configs_are_rejected_before_any_run(root, tmp_path):
    first = write_config(tmp_path, "one", root)
    (tmp_path / "copy.yml").write_text(first.read_text())
    with pytest.raises(UsageError, match=r"one\.yml and .*copy\.yml both have the name 'one'"):
        plan_experiments([first, tmp_path / "copy.yml"])
    with pytest.raises(UsageError, match="did you mean 'alpha'"):
        plan_experiments([first], ["model.alhpa=2"])
    with pytest.raises(UsageError, match="does not exist"):
        plan_experiments([tmp_path / "none.yml"])


def finished(folder: Path, logits: list[float], seed: int = 0, targets: str = "00001111") -> FinishedRun:
    folder.mkdir(parents=True)
    table = pd.DataFrame({
        "video_name": [f"{row}.mp4" for row in range(8)], "target": list(targets), "score": "", "logit": logits,
        "status": "ok", "reason": "", "source": list("ababab") + ["c", "c"],
    })  # fmt: skip
    table.to_csv(folder / "predictions.csv", index=False)
    return FinishedRun(folder, seed, "abc", "random", "testset", 0.5, 60.0)


def test_table_compares_seed_averaged_scores_with_the_first_config(root, tmp_path):
    (plan,) = plan_experiments([write_config(tmp_path, "one", root)])

    def outcome(name: str, *logits: list[float]) -> Outcome:
        config = plan.config.model_copy(update={"name": name})
        made = Experiment(plan.file, config, plan.key, plan.data)
        return Outcome(made, [finished(tmp_path / name / str(seed), each, seed) for seed, each in enumerate(logits)])

    good, bad = [-4, -3, -2, 0.5, 1, 2, 3, 0], [3, -1, 0, 2, 1, -2, 0.5, -3]
    unscored = [*good[:7], math.nan]
    rows = comparison_rows(
        [outcome("a", good, bad), outcome("b", good), outcome("c", bad), outcome("d", good, unscored)]
    )
    mean = np.mean([good, bad], axis=0)
    target = np.repeat([0, 1], 4)
    assert rows[0]["auc"] == pytest.approx(roc_auc(target, mean).value)
    assert rows[3]["coverage"] == 7 / 8 and rows[3]["n"] == 8
    tests = [delong_test(target, each, mean) for each in (good, bad)]
    assert [row["p"] for row in rows[1:3]] == pytest.approx([test.p for test in tests])
    assert [row["delta"] for row in rows[1:3]] == pytest.approx([test.delta for test in tests])
    assert all(row["p"] <= row["p_holm"] <= 3 * row["p"] + 1e-12 for row in rows[1:])
    # Group a has scores 0 and 2 real, 4 fake; group b 1 and 3 real, 5 fake; group c only fakes.
    assert rows[1]["n_sources"] == 2 and rows[1]["same_source"] == 1.0
    assert rows[1]["auc_seed_sd"] is None and rows[0]["seeds"] == "0 1"
    text = markdown_table(rows)
    assert "AUC minus that of a [95 %]" in text and "testset: 8 clips; weights start: random." in text


def test_no_metric_is_computed_without_targets(root, tmp_path):
    (plan,) = plan_experiments([write_config(tmp_path, "one", root)])
    blank = finished(tmp_path / "blank", list(range(8)), targets=" " * 8)
    (row,) = comparison_rows([Outcome(plan, [blank])])
    assert row["auc"] is None and "no AUC" in markdown_table([row])


def test_committed_experiments_are_complete_and_start_with_the_reference():
    files = sorted((DEFAULT_CONFIG.parent / "experiments").glob("*.yml"))
    experiments = {made.name: made.config for made in plan_experiments(files)}
    assert next(iter(experiments)) == "default"
    assert {experiments[name].model["alpha"] for name in experiments if name.startswith("alpha")} == {0.5, 2, 5}
    assert {config.features.video.top_k for config in experiments.values()} == {64, 96, 128}
    assert {"audio_only", "video_only", "no_cosine", "covariance_bins", "mel_baseline"} <= experiments.keys()
    for config in experiments.values():
        assert (config.label_name, config.evaluate, config.eval) == (
            experiments["default"].label_name, "val", experiments["default"].eval,
        )  # fmt: skip
