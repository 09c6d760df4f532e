"""`utils/robustness.py`: output, files and exit codes."""

from __future__ import annotations

import pandas as pd
import pytest

import dataset.workers
import engine.robustness
from tests.support import REPOSITORY, one_sentence, random_checkpoint, write_video
from utils.command import run_command

SCRIPT = REPOSITORY / "utils" / "robustness.py"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Write six labelled clips and a checkpoint; return their folder."""
    root = tmp_path_factory.mktemp("world")
    for seed in range(6):
        write_video(root / "clips" / f"{seed}.mp4", seed)
    rows = [f"{seed}.mp4,{int(seed > 2)}" for seed in range(6)]
    (root / "labels.txt").write_text("\n".join(["video_name,target", *rows]) + "\n", encoding="utf-8")
    random_checkpoint(root / "best.pth")
    return root


@pytest.fixture
def main(monkeypatch):
    """Return the command's `main`, with tasks run in this process, because starting workers takes seconds."""

    def in_this_process(function, tasks, **_):
        return ((task, function(task), "") for task in tasks)

    for module in (dataset.workers, engine.robustness):
        monkeypatch.setattr(module, "run_in_workers", in_this_process)
    # Importing the script replaces the first entry of sys.path; this entry is added for that and removed afterwards.
    monkeypatch.syspath_prepend(str(REPOSITORY))
    from utils.robustness import main

    return main


def arguments(world, output, *more: str) -> list[str]:
    paths = ("--checkpoint", world / "best.pth", "--labels", world / "labels.txt", "--video_dir", world / "clips")
    return [*map(str, paths), "--output", str(output), "--workers", "1", "--device", "cpu", "--quiet", *more]


def test_run_writes_all_tables_and_prints_the_cells(world, main, tmp_path, capsys, monkeypatch):
    more = ("--families", "crop", "telephone", "--severities", "1", "5", "--limit", "4")
    assert run_command(main, arguments(world, tmp_path / "out", *more)) == 0
    shown = capsys.readouterr().out
    assert "reencode_video" in shown and "telephone" in shown and "mean drop" in shown
    table = pd.read_csv(tmp_path / "out" / "robustness.csv")
    cells = list(zip(table["family"], table["severity"], strict=True))
    assert cells == [
        ("none", 0),
        ("reencode_video", 0),
        ("reencode_audio", 0),
        ("crop", 1),
        ("crop", 5),
        ("telephone", 1),
        ("telephone", 5),
    ]
    assert (table["coverage"] == 1).all() and table["auc"].notna().all() and (table["n"] == 4).all()
    scores = pd.read_csv(tmp_path / "out" / "scores" / "crop-5.csv")
    assert sorted(scores["target"]) == [0, 0, 1, 1]
    assert (tmp_path / "out" / "heat_map.png").stat().st_size > 1000
    # The scores of a cell are a predictions file, so utils/evaluate_predictions.py can compare two cells.
    monkeypatch.syspath_prepend(str(REPOSITORY))
    from utils.evaluate_predictions import main as evaluate

    assert (
        run_command(evaluate, [str(tmp_path / "out" / "scores" / name) for name in ("none-0.csv", "crop-5.csv")]) == 0
    )
    assert "4 of 4 clips scored" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("--families", "blurr"), "did you mean 'blur'"),
        (("--severities", "0"), "severity 0: expected 1 to 5"),
        (("--severities", "hard"), "invalid int value"),
        (("--limit", "1"), "--limit 1: expected 2 or more"),
        (("--workers", "-1"), "must be at least 0, not -1"),
        (("--video_dir", "/no/such/folder"), "--video_dir is not a folder"),
        (("--labels", "/no/such/file"), "label file does not exist"),
        (("--checkpoint", "/no/such/file"), "checkpoint does not exist"),
        (("--checkpoint", str(SCRIPT)), "is not a multi-ffdv checkpoint"),
        (("--output", str(SCRIPT)), "cannot be created"),
    ],
)
def test_wrong_usage_gives_one_sentence(world, main, tmp_path, capsys, change, sentence):
    assert sentence in one_sentence(main, arguments(world, tmp_path / "out", *change), capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [("0.mp4,0\n1.mp4,\n", "needs a target of 0 or 1 in every row"), ("0.mp4,1\n1.mp4,1\n", "all 2 are of one class")],
)
def test_labels_without_two_classes_are_rejected(world, main, tmp_path, capsys, rows, sentence):
    (tmp_path / "labels.txt").write_text("video_name,target\n" + rows)
    more = ("--labels", str(tmp_path / "labels.txt"))
    assert sentence in one_sentence(main, arguments(world, tmp_path / "out", *more), capsys)


def test_no_scored_clip_exits_1_after_writing_the_output(world, main, tmp_path, capsys):
    (tmp_path / "clips").mkdir()
    for seed in range(6):
        (tmp_path / "clips" / f"{seed}.mp4").write_text(f"no clip {seed}")
    more = ("--video_dir", str(tmp_path / "clips"), "--families", "none")
    assert "no clip could be scored" in one_sentence(main, arguments(world, tmp_path / "out", *more), capsys, code=1)
    table = pd.read_csv(tmp_path / "out" / "robustness.csv")
    assert (table["coverage"] == 0).all() and table["auc"].isna().all()
