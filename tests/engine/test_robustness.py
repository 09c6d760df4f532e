"""The robustness suite: scoring, caching, resuming, and the tables."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import engine.robustness as robustness
from dataset import workers as worker_pool
from dataset.degradations import FAMILIES, Degradation, plan
from dataset.labels import read_labels
from engine.detector import Detector
from engine.robustness_tables import cell_table, draw_heat_map, format_cells, grid, summary, write_results
from engine.score_files import ScoringOptions, score_table
from tests.support import random_checkpoint, tiny_model, write_video
from utils.errors import UsageError, WorkError
from utils.metrics import bootstrap_auc

OPTIONS = ScoringOptions(workers=1, quiet=True)
PLAN = plan(["brightness", "volume"], [1, 5])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Write a checkpoint and six labelled clips, one of them missing and one a text file; return their folder."""
    root = tmp_path_factory.mktemp("world")
    names = ["a.mp4", "b.mp4", "deep/c d.mkv", "e.mp4", "text.mp4", "absent.mp4"]
    for seed, name in enumerate(names[:4]):
        write_video(root / "clips" / name, seed)
    (root / "clips" / "text.mp4").write_text("no clip")
    rows = [f"{name},{row % 2},kind{row % 2}" for row, name in enumerate(names)]
    (root / "labels.csv").write_text("\n".join(["video_name,target,type", *rows]) + "\n", encoding="utf-8")
    write_checkpoint(root)
    return root


def write_checkpoint(root, **parts):
    """Write a checkpoint of a model that reads video only, so scores are quick and do not depend on audio."""
    random_checkpoint(root / "best.pth", tiny_model(audio_branch=False), **parts)


class InProcess:
    """Replacement for `run_in_workers` that runs tasks in this process and records them.

    Attributes:
        tasks: the tasks run so far.
        on_task: called before each task.
    """

    def __init__(self) -> None:
        self.tasks: list = []
        self.on_task = lambda: None

    def __call__(self, function, tasks, **_):
        for task in tasks:
            self.on_task()
            self.tasks.append(task)
            yield task, function(task), ""


@pytest.fixture
def degrading(monkeypatch) -> InProcess:
    """Degrade clips in this process."""
    runner = InProcess()
    monkeypatch.setattr(robustness, "run_in_workers", runner)
    return runner


@pytest.fixture(autouse=True)
def decoding(monkeypatch) -> InProcess:
    """Decode degraded clips in this process."""
    runner = InProcess()
    monkeypatch.setattr(worker_pool, "run_in_workers", runner)
    return runner


def suite(world, output, cells=PLAN):
    labels = read_labels(world / "labels.csv")
    return robustness.Suite(world / "best.pth", labels, world / "clips", cells, output, OPTIONS, "cpu")


def test_every_cell_has_a_row_per_clip_with_its_reason(world, degrading, tmp_path):
    scores = suite(world, tmp_path / "out").run()
    assert [str(cell) for cell in scores] == [str(cell) for cell in PLAN]
    for table in scores.values():
        assert table["video_name"].tolist() == read_labels(world / "labels.csv")["video_name"].tolist()
        assert table["reason"].tolist() == ["", "", "", "", "unreadable", "missing_file"]
        assert table["logit"].notna().tolist() == [True] * 4 + [False] * 2
        assert table["type"].tolist()[:2] == ["kind0", "kind1"]
    logits = {str(cell): table["logit"].to_numpy()[:4] for cell, table in scores.items()}
    assert (logits["brightness-5"] != logits["none-0"]).all()
    np.testing.assert_allclose(logits["volume-5"], logits["none-0"], rtol=1e-5)
    assert not list((tmp_path / "out").glob(".scratch-*"))


def test_finished_jobs_are_not_repeated(world, degrading, tmp_path):
    first = suite(world, tmp_path).run()
    degrading.tasks.clear()
    again = suite(world, tmp_path).run()
    # The row of the unreadable text file is cached. The missing clip has no hash and no cached row.
    assert degrading.tasks == []
    for cell, table in first.items():
        pd.testing.assert_frame_equal(again[cell], table)
    suite(world, tmp_path, plan(["brightness"], [1, 2])).run()
    assert {str(job.degradation) for job, _ in degrading.tasks} == {"brightness-2"}


def test_changed_clips_checkpoints_and_parameters_are_scored_again(world, degrading, tmp_path, monkeypatch):
    own = shutil.copytree(world, tmp_path / "own")
    cells = plan(["volume"], [1])
    suite(own, tmp_path / "out", cells).run()
    degrading.tasks.clear()
    write_video(own / "clips" / "a.mp4", 99)
    suite(own, tmp_path / "out", cells).run()
    assert [job.path.name for job, _ in degrading.tasks] == ["a.mp4"] * 3
    degrading.tasks.clear()
    monkeypatch.setattr("dataset.degradations.families.FILTERS_VERSION", 2)
    suite(own, tmp_path / "out", cells).run()
    assert len(degrading.tasks) == 5 * 3
    degrading.tasks.clear()
    write_checkpoint(own, epoch=3)
    suite(own, tmp_path / "out", cells).run()
    assert len(degrading.tasks) == 5 * 3


def test_interrupted_run_resumes_after_its_last_chunk(world, degrading, decoding, tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, "CHUNK_CLIPS", 4)

    def interrupt() -> None:
        if len(decoding.tasks) == 8:
            raise KeyboardInterrupt

    decoding.on_task = interrupt
    cells = plan(["brightness"], [1, 5])
    with pytest.raises(KeyboardInterrupt):
        suite(world, tmp_path, cells).run()
    assert not list(tmp_path.glob(".scratch-*"))
    cached = (tmp_path / "cache.jsonl").read_text(encoding="utf-8")
    done = cached.count('{"key"')
    assert done == len(degrading.tasks) - 4 > 0
    # A truncated line is ignored, and the next one starts on a new line.
    (tmp_path / "cache.jsonl").write_text(cached + '{"key": "abc", "ro', encoding="utf-8")
    decoding.on_task = lambda: None
    degrading.tasks.clear()
    scores = suite(world, tmp_path, cells).run()
    assert len(degrading.tasks) == 5 * len(cells) - done
    fresh = suite(world, tmp_path / "fresh", cells).run()
    for cell, table in scores.items():
        pd.testing.assert_frame_equal(table, fresh[cell])


def test_disk_holds_one_chunk_at_a_time(world, degrading, decoding, tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, "CHUNK_BYTES", 1)
    counts = []
    decoding.on_task = lambda: counts.append(len(list(tmp_path.glob(".scratch-*/*"))))
    suite(world, tmp_path, plan(["brightness"], [1, 5])).run()
    assert max(counts) == 1 and len(counts) > 10


def test_scratch_files_of_killed_runs_are_removed_and_those_of_running_ones_kept(world, degrading, tmp_path):
    stale, running = tmp_path / ".scratch-999999999", tmp_path / ".scratch-1"
    for folder in (stale, running):
        folder.mkdir()
        (folder / "0.mp4").write_bytes(b"x")
    suite(world, tmp_path, plan(["none"], [1])).run()
    assert not stale.exists() and running.exists()


def test_timeout_is_retried_and_a_full_disk_ends_the_run(world, degrading, tmp_path, monkeypatch):
    def time_out(function, tasks, **_):
        for task in tasks:
            yield task, None, "timeout"

    monkeypatch.setattr(robustness, "run_in_workers", time_out)
    cells = plan(["volume"], [1])
    scores = suite(world, tmp_path, cells).run()
    assert all(table["reason"].tolist() == ["timeout"] * 5 + ["missing_file"] for table in scores.values())
    monkeypatch.setattr(robustness, "run_in_workers", degrading)
    assert suite(world, tmp_path, cells).run()[cells[0]]["reason"].tolist()[:4] == [""] * 4

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(robustness, "degrade_clip", full)
    with pytest.raises(WorkError, match="is the disk full"):
        suite(world, tmp_path, plan(["volume"], [2])).run()


def test_folder_without_labelled_clips_is_rejected_before_writing(world, tmp_path):
    labels = read_labels(world / "labels.csv")
    with pytest.raises(UsageError, match="contains none of the 6 labelled clips"):
        robustness.Suite(world / "best.pth", labels, tmp_path, PLAN, tmp_path / "out", OPTIONS, "cpu").run()
    assert not (tmp_path / "out").exists()


def test_scores_equal_those_of_undegraded_clips(world, degrading, tmp_path):
    cells = plan(["crop"], [5])
    scores = suite(world, tmp_path, cells).run()
    paths = [world / "clips" / name for name in read_labels(world / "labels.csv")["video_name"]]
    direct = score_table(Detector.load(world / "best.pth", "cpu"), paths, OPTIONS)
    clean = scores[cells[0]]
    for column in ("score", "logit", "evidence_head"):
        np.testing.assert_allclose(clean[column].astype(float), direct[column].astype(float), rtol=1e-5)
    assert clean["reason"].tolist() == direct["reason"].tolist()


def made_scores() -> dict[Degradation, pd.DataFrame]:
    """Return scores of eight clips: the clean ranking is perfect, blur-1 swaps one pair, blur-5 scores half the clips."""
    target = np.array([0, 0, 0, 0, 1, 1, 1, 1], float)
    clean = np.array([0, 1, 2, 3, 4, 5, 6, 7], float)
    swapped = clean.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    sparse = np.where(np.arange(8) % 2 == 0, -clean, np.nan)
    logits = {"none-0": clean, "reencode_video-0": swapped, "blur-1": swapped, "blur-5": sparse}
    cells = {str(cell): cell for cell in plan(["blur"], [1, 5])}
    return {cells[name]: pd.DataFrame({"target": target, "logit": logit}) for name, logit in logits.items()}


def test_cells_have_auc_interval_coverage_and_drops():
    cells = cell_table(made_scores()).set_index(["family", "severity"])
    target, swapped = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 1, 2, 4, 3, 5, 6, 7])
    assert cells.loc[("none", 0), "auc"] == 1.0
    assert cells.loc[("blur", 1), "auc"] == pytest.approx(15 / 16)
    interval = bootstrap_auc(target, swapped)
    assert tuple(cells.loc[("blur", 1), ["low", "high"]]) == (interval.low, interval.high)
    assert cells.loc[("blur", 1), "drop"] == pytest.approx(1 / 16)
    assert cells.loc[("blur", 1), "drop_beyond_baseline"] == 0
    assert cells.loc[("blur", 5), "coverage"] == 0.5 and cells.loc[("blur", 5), "n_scored"] == 4
    assert cells.loc[("blur", 5), "auc"] == 0.0 and cells.loc[("blur", 5), "drop"] == 1.0
    assert cells.loc[("blur", 5), "level"] == "0.02"


def test_summary_averages_over_severities_and_is_null_without_values():
    scores = made_scores()
    figures = summary(cell_table(scores))
    assert figures["auc"]["value"] == 1.0 and figures["coverage"] == 1.0 and figures["lowest_coverage"] == 0.5
    assert figures["mean_drop"] == pytest.approx((1 / 16 + 1) / 2) == figures["families"]["blur"]["mean_drop"]
    for table in scores.values():
        table["logit"] = np.nan
    nothing = summary(cell_table(scores))
    assert nothing["auc"] == {"value": None, "low": None, "high": None}
    assert nothing["mean_drop"] is None and nothing["coverage"] == 0
    json.dumps(nothing, allow_nan=False)


def test_grid_has_the_baseline_at_severity_0():
    wide = grid(cell_table(made_scores()), "auc")
    assert wide.index.tolist() == ["none", "reencode_video", "blur"] and wide.columns.tolist() == [0, 1, 5]
    assert wide[0].tolist() == [1.0, 15 / 16, 15 / 16]
    assert np.isnan(wide.loc["none", 1])
    shown = format_cells(cell_table(made_scores()))
    assert "0.000 (50%)" in shown and "+0.531" in shown


def test_tables_summary_and_heat_map_are_written(tmp_path):
    scores = made_scores()
    cells = cell_table(scores)
    write_results(tmp_path, scores, cells, summary(cells))
    table = pd.read_csv(tmp_path / "robustness.csv")
    assert table.columns.tolist()[:6] == ["family", "severity", "auc", "low", "high", "coverage"]
    assert len(table) == 4
    assert {path.name for path in (tmp_path / "scores").iterdir()} == {f"{cell}.csv" for cell in scores}
    assert json.loads((tmp_path / "robustness.json").read_text())["families"]["blur"]["mean_drop"] > 0.5


def test_heat_map_is_drawn_with_missing_cells(tmp_path):
    import cv2

    cells = cell_table(made_scores())
    for name, table in (("full", cells), ("empty", cells.assign(auc=np.nan))):
        draw_heat_map(table, tmp_path / f"{name}.png")
        picture = cv2.imread(str(tmp_path / f"{name}.png"))
        assert min(picture.shape[:2]) > 200 and picture.std() > 10


def test_every_family_gives_a_valid_job_with_one_seed(tmp_path):
    for family in FAMILIES.values():
        job = robustness.Job(tmp_path, "0" * 64, family.name, family.severities[-1])
        assert job.degradation.family is family
        weaker = robustness.Job(tmp_path, "0" * 64, family.name, family.severities[0])
        assert job.seed == weaker.seed
