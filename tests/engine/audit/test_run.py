"""The audit end to end on tiny clips: a planted shortcut is found, its remedy closes it, and nothing else is claimed."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset.labels import read_labels
from engine.audit import remedies, run, run_audit
from engine.audit.probes import PROBES
from engine.audit.table import format_audit
from engine.audit.verdict import HOLDS, INSIDE, NOTHING, SHORTCUT
from engine.report.inputs import ReportInputs
from utils.errors import UsageError, WorkError
from utils.media.writer import write_clip

RATE_HZ = 16_000
GROUPS = 24
PLANTED_S = 0.03
ALL, GAP = "container: all facts", "audio minus video duration"
INNOCENT = ("container: codecs", "loudness", "random encoder on mel")
KEYS = {
    "probe", "auc", "low", "high", "verdict", "remedy", "explanation", "reach", "random", "within", "medians", "n_clips",
    "n_left_out", "n_groups",
}  # fmt: skip


def write_set(folder: Path) -> None:
    """Pairs of a real and a fake that differ in nothing but their noise, and in fakes' audio being 30 ms longer."""
    rng = np.random.default_rng(0)
    rows = []
    for group in range(GROUPS):
        n_frames, colour = int(rng.integers(10, 16)), rng.integers(40, 200, 3)
        for target in (0, 1):
            name = f"{group:02d}-{rng.integers(1 << 32):08x}.mp4"
            frames = [np.clip(rng.normal(colour, 20, (32, 32, 3)), 0, 255).astype(np.uint8) for _ in range(n_frames)]
            length = round((n_frames / 25 + PLANTED_S * target + rng.normal(0, 0.002)) * RATE_HZ)
            write_clip(folder / name, frames, 25, rng.normal(0, rng.uniform(0.02, 0.2), length), RATE_HZ)
            rows.append((name, target, f"g{group}"))
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("video_name", "target", "group"), *rows])


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    write_set(folder)
    return folder, read_labels(folder / "labels.csv")


def measure_here(function, tasks, *, workers, timeout_s):
    """`run_in_workers` without its processes, whose start takes longer than these tests."""
    for task in tasks:
        yield task, function(task), ""


@pytest.fixture(scope="module", autouse=True)
def small_and_here():
    """Measure in this process, re-encode to fewer pixels, and ask the questions that these tests are about."""
    asked = (ALL, GAP, *INNOCENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "PROBES", tuple(probe for probe in PROBES if probe.name in asked))
        patch.setattr(run, "run_in_workers", measure_here)
        patch.setattr(remedies, "RE_ENCODED_SIZE_PX", 48)
        yield


@pytest.fixture(scope="module")
def audited(clips):
    folder, labels = clips
    return {row["probe"]: row for row in run_audit(labels, folder, remedies=["re_encode"], quiet=True)}


def test_the_planted_gap_is_found_and_carries_over(audited):
    row = audited[GAP]
    assert row["auc"] > 0.95 and row["verdict"] == SHORTCUT and row["reach"] == INSIDE
    assert row["remedy"].startswith("re_encode") and row["n_groups"] == GROUPS and row["n_clips"] == 2 * GROUPS
    gap = row["medians"]["gap_s"]
    assert gap["fake"] - gap["real"] == pytest.approx(PLANTED_S, abs=0.003)
    assert audited[ALL]["verdict"] == SHORTCUT


def test_the_remedy_closes_it(audited):
    after = audited[GAP]["after"]
    assert after["remedies"] == ["re_encode"] and after["verdict"] == NOTHING
    assert after["auc"] < 0.7


def test_nothing_is_claimed_of_what_was_not_planted(audited):
    assert {name: audited[name]["verdict"] for name in INNOCENT} == dict.fromkeys(INNOCENT, NOTHING)
    controls = [row for name, row in audited.items() if "control" in name]
    assert [row["verdict"] for row in controls] == [HOLDS, HOLDS]


def test_the_rows_are_what_reports_read(audited):
    rows = list(audited.values())
    assert all(set(row) - {"after"} == KEYS for row in rows)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    ReportInputs(title="audit", metrics={}, audit=rows)
    text = format_audit(rows)
    assert "Carries over to clips of groups it has not seen: " in text and "Remedy: re_encode" in text
    assert all(row["probe"] in text and row["verdict"] in text for row in rows)


def test_without_the_shortcut_nothing_is_found(clips, monkeypatch):
    folder, labels = clips
    # Each group's labels are dealt at random, so the longer audio is as often a real's.
    flips = np.repeat(np.random.default_rng(5).integers(0, 2, GROUPS), 2)
    honest = labels.assign(target=np.abs(labels["target"] - flips))
    monkeypatch.setattr(run, "PROBES", tuple(probe for probe in PROBES if probe.name in (ALL, GAP)))
    rows = run_audit(honest, folder, quiet=True)
    gap = next(row for row in rows if row["probe"] == GAP)
    assert gap["verdict"] == NOTHING and gap["remedy"] == "" and gap["low"] < 0.5
    assert [row["probe"] for row in rows if row["verdict"] == SHORTCUT] == []


def test_clips_that_cannot_be_measured_are_counted(clips, caplog):
    _, labels = clips
    with caplog.at_level(logging.WARNING), pytest.raises(WorkError, match="both classes"):
        run_audit(labels, Path("/nowhere"), quiet=True)
    assert "48 of 48 clips could not be measured: 48 missing_file" in caplog.text


def test_wrong_labels_are_refused(clips):
    folder, labels = clips
    with pytest.raises(UsageError, match="no column 'person'"):
        run_audit(labels, folder, group="person")
    with pytest.raises(UsageError, match="one class"):
        run_audit(labels[labels["target"] == 1], folder)
    with pytest.raises(UsageError, match="no remedy"):
        run_audit(labels, folder, remedies=["x"])


def test_a_large_set_is_drawn_by_whole_groups(caplog):
    labels = pd.DataFrame({"video_name": [f"{i}.mp4" for i in range(90)], "target": [0.0, 1.0, 1.0] * 30})
    labels["source"] = [f"s{i // 3}" for i in range(90)]
    drawn = run._labelled(labels, None, 30, 0)
    assert len(drawn) == 30 and set(drawn.groupby("source").size()) == {3}
    own = run._labelled(labels.assign(source=""), None, 1000, 0)
    assert own["_unit"].nunique() == 90
    run._labelled(labels.drop(columns="source"), None, 1000, 0)
    assert "every clip is held out on its own" in caplog.text
