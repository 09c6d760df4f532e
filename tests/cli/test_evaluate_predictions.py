"""`utils/evaluate_predictions.py`: evaluation and comparison of predictions files."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from utils.command import run_command

SCRIPT = Path(__file__).resolve().parents[2] / "utils" / "evaluate_predictions.py"
LABELS = "video_name,target,type,source\na,1,x,s1\nb,0,,s1\nc,1,y,s2\nd,0,,s2\ne,0,,s2\nf,1,x,s1\n"
SCORES = "video_name,score\na,0.9\nb,0.3\nc,0.2\nd,0.1\nf,0.8\n"


class Done(NamedTuple):
    """Exit code and output of a command."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run the command in this process with ``tmp_path`` as the working directory."""
    # Importing the script replaces the first entry of sys.path; this entry is added for that and removed afterwards.
    monkeypatch.syspath_prepend(str(SCRIPT.parents[1]))
    from utils.evaluate_predictions import main

    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str) -> Done:
        try:
            code = run_command(main, arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run_it


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def test_metrics_of_one_file_are_printed_and_written(run: Callable[..., Done], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target = np.arange(200) % 2
    score = np.clip(rng.normal(0.4, 0.2, 200) + 0.2 * target, 0, 1)
    with open(tmp_path / "a.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["video_name", "target", "y_pred"])
        writer.writerows([f"clip ä {i}.mp4", t, s] for i, (t, s) in enumerate(zip(target, score, strict=True)))
    done = run("a.csv", "--output", "deep/metrics.json", "--split", "valset")
    assert done.returncode == 0, done.stderr
    assert "AUC" in done.stdout
    assert "200 of 200 clips scored" in done.stdout
    assert done.stderr == ""
    metrics = json.loads((tmp_path / "deep/metrics.json").read_text(encoding="utf-8"))
    assert metrics["auc"]["value"] == pytest.approx(roc_auc_score(target, score))
    assert metrics["split"] == "valset"
    assert metrics["coverage"] == 1.0
    assert metrics["tpr_at_fpr"]["0.001"] is None
    assert metrics["tpr_at_fpr"]["0.01"] is not None
    assert metrics["reasons"]["tpr_at_fpr.0.001"] == "only 100 real clips"


def test_labels_are_joined_and_missing_clips_reduce_coverage(run: Callable[..., Done], tmp_path: Path) -> None:
    write(tmp_path, "a.csv", SCORES)
    write(tmp_path, "labels.txt", LABELS)
    done = run("a.csv", "--labels", "labels.txt", "--output", "m.json", "--policy", "as-chance")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert metrics["n"] == 6
    assert metrics["n_scored"] == 5
    assert metrics["coverage_reasons"] == {"not_in_predictions": 1}
    assert metrics["per_type"]["x"]["n"] == 2
    assert metrics["same_source"]["sources"] == 2
    assert metrics["auc"]["value"] == pytest.approx((5 + 0.5 * 3) / 9)


@pytest.mark.parametrize("labels", [(), ("--labels", "labels.csv")])
def test_two_files_are_compared_on_clips_scored_in_both(
    run: Callable[..., Done], tmp_path: Path, labels: tuple[str, ...]
) -> None:
    write(tmp_path, "labels.csv", LABELS)
    write(tmp_path, "a.csv", "video_name,target,score\na,1,0.9\nb,0,0.3\nc,1,0.2\nd,0,0.1\ne,0,\nf,1,0.8\n")
    write(tmp_path, "b.csv", "video,score,logit\nf,0.4,-0.4\nd,0.9,2.2\nb,0.1,-2.2\na,0.6,0.4\ne,0.5,0\n")
    done = run("a.csv", "b.csv", *labels, "--output", "m.json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    test = metrics["delong"]
    assert test["n"] == 4
    assert test["n_one_only"] == 2
    assert (test["auc_a"], test["auc_b"], test["delta"]) == (1.0, 0.5, 0.5)
    assert 0 < test["p"] < 1
    assert metrics["b"]["auc"]["value"] == pytest.approx(3 / 6)
    assert "DeLong p =" in done.stdout


def test_second_file_is_broken_down_by_columns_of_the_first(run: Callable[..., Done], tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "video_name,target,score,type,source\na,1,0.9,x,s\nb,0,0.3,,s\nc,1,0.2,y,t\nd,0,0.1,,t\n")
    write(tmp_path, "b.csv", "video_name,target,score\nd,0,0.6\nc,1,0.5\nb,0,0.4\na,1,0.3\n")
    done = run("a.csv", "b.csv", "--output", "m.json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert metrics["b"]["per_type"].keys() == metrics["per_type"].keys() == {"x", "y"}
    assert metrics["b"]["per_type"]["x"]["auc"] == 0.0
    assert metrics["b"]["same_source"]["sources"] == metrics["same_source"]["sources"] == 2


def test_file_without_targets_has_no_metrics(run: Callable[..., Done], tmp_path: Path) -> None:
    write(tmp_path, "a.csv", SCORES)
    done = run("a.csv", "--output", "m.json")
    assert done.returncode == 0, done.stderr
    assert "no metric: there is no target column" in done.stdout
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))["auc"]["value"] is None


def test_file_without_scores_exits_1_after_writing(run: Callable[..., Done], tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "video_name,target,score\na,1,\nb,0,\n")
    done = run("a.csv", "--output", "m.json")
    assert done.returncode == 1
    assert done.stderr == "error: no clip has a score\n"
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))["coverage"] == 0.0


@pytest.mark.parametrize(
    ("predictions", "arguments", "message"),
    [
        ("", (), "a.csv is empty"),
        ("video_name,score\n", (), "a.csv has a header but no rows"),
        ("name,score\na,1\n", (), "a.csv has no video_name column; its columns are name, score"),
        ("video_name,target\na,1\n", (), "a.csv has no score, y_pred or logit column"),
        ("video_name,score,score\na,1,1\n", (), "a.csv has more than one score column"),
        ("video_name,score,y_pred\na,1,1\n", (), "a.csv has more than one score column"),
        ("video_name,score\na,0.1\na,0.2\n", (), "a.csv names a more than once"),
        ("video_name,score\n,0.1\n", (), "a.csv has a row without a video_name"),
        ("video_name,score\na,0.1\nb,0.2,0.3\n", (), "a.csv line 3 has 3 cells, but the header has 2"),
        ("video_name,score\na,high\n", (), "a.csv: the score of a is 'high'; it must be a finite number or empty"),
        ("video_name,score\na,nan\n", (), "the score of a is 'nan'"),
        ("video_name,score\na,inf\n", (), "the score of a is 'inf'"),
        ("video_name,target,score\na,2,0.1\nb,1,0.1\n", (), "the target of a is 2; it must be 1 (fake) or 0 (real)"),
        ("video_name,score\nz,0.1\n", ("--labels", "labels.csv"), "not in the labels: z (1 in all)"),
        ("video_name,target,score\na,0,0.1\n", ("--labels", "labels.csv"), "disagree on the target of a (1 in all)"),
        (SCORES, ("--labels", "absent.csv"), "absent.csv"),
        (SCORES, ("absent.csv",), "absent.csv"),
        (SCORES, ("--threshold", "nan"), "--threshold"),
        (SCORES, ("--bootstrap", "-1"), "--bootstrap"),
        (SCORES, ("--policy", "guess"), "--policy"),
    ],
)
def test_bad_input_gives_one_sentence_and_exits_2(
    run: Callable[..., Done], tmp_path: Path, predictions: str, arguments: tuple[str, ...], message: str
) -> None:
    write(tmp_path, "a.csv", predictions)
    write(tmp_path, "labels.csv", LABELS)
    done = run("a.csv", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_binary_files_are_rejected(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01\x80")
    done = run("a.csv")
    assert done.returncode == 2
    assert "is not a CSV file in UTF-8" in done.stderr


def test_script_runs_from_another_directory(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", SCORES)
    write(tmp_path, "labels.csv", LABELS)
    command = [sys.executable, str(SCRIPT), "a.csv", "--labels", "labels.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0
    assert "5 of 6 clips scored" in done.stdout
    assert done.stderr == ""


def test_help_imports_no_heavy_library(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(SCRIPT), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0
    assert "--labels" in done.stdout
    assert "--policy" in done.stdout
    assert "numpy" not in done.stderr
    assert "sklearn" not in done.stderr


def test_every_policy_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parents[1]))
    from utils import evaluate_predictions
    from utils.metrics import POLICIES

    assert evaluate_predictions.POLICIES == POLICIES
